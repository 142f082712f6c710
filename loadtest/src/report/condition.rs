//! `cold_rate>0.0001`: a condition on one number of a report.

use std::str::FromStr;

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    field: String,
    comparison: Comparison,
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    More,
    MoreOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found the condition `{0}`, expected a field of the report, a comparison and a number, as in `cold_rate>0.0001`"
)]
pub struct ConditionError(String);

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let wrong = || ConditionError(text.to_owned());
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (field, rest) = text.split_at(at);
        let (comparison, number) = match (rest.strip_prefix(">="), rest.strip_prefix("<=")) {
            (Some(number), _) => (Comparison::MoreOrEqual, number),
            (_, Some(number)) => (Comparison::LessOrEqual, number),
            _ if rest.starts_with('>') => (Comparison::More, &rest[1..]),
            _ => (Comparison::Less, &rest[1..]),
        };
        let limit: f64 = number.trim().parse().map_err(|_| wrong())?;
        let field = field.trim().to_owned();
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if field.is_empty() || !field.chars().all(valid) || !limit.is_finite() {
            return Err(wrong());
        }
        Ok(Self { field, comparison, limit })
    }
}

impl Condition {
    pub(crate) fn field(&self) -> &str {
        &self.field
    }

    pub(crate) fn holds_for(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::More => value > self.limit,
            Comparison::MoreOrEqual => value >= self.limit,
            Comparison::Less => value < self.limit,
            Comparison::LessOrEqual => value <= self.limit,
        }
    }

    /// Why the condition holds for this report, in words; a number that is not there is no proof
    /// that all is well.
    pub(crate) fn verdict(&self, report: &Value) -> Option<String> {
        let Self { field, .. } = self;
        match number(report, field) {
            Some(value) if self.holds_for(value) => {
                Some(format!("{field} is {value}, and {self} fails the run"))
            }
            Some(_) => None,
            None => Some(format!("the report has no number `{field}`, so {self} fails the run")),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.comparison {
            Comparison::More => ">",
            Comparison::MoreOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        };
        write!(f, "`{}{sign}{}`", self.field, self.limit)
    }
}

/// A number by its path. Shares are objects with a `rate`, and counts by name that have not
/// occurred are zero.
pub(crate) fn number(report: &Value, field: &str) -> Option<f64> {
    let mut value = report;
    for key in field.split('.') {
        if value.get(key).is_none() && (field.starts_with("causes.") || field.starts_with("errors.")) {
            return report.get(field.split('.').next()?).map(|_| 0.0);
        }
        value = value.get(key)?;
    }
    value.as_f64().or_else(|| value.get("rate")?.as_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: &str) -> bool {
        let report = json!({
            "cold_rate": {"rate": 0.001, "low": 0.0, "high": 0.1},
            "latency_ms": {"all": {"p99": 12.5}, "cold": null},
            "requests": {"failed": 0}, "causes": {"first": 3},
        });
        condition.parse::<Condition>().unwrap().verdict(&report).is_some()
    }

    #[test]
    fn numbers_are_found_and_compared() {
        assert!(holds("cold_rate>0.0001") && !holds("cold_rate > 0.001") && holds("cold_rate>=0.001"));
        assert!(holds("latency_ms.all.p99>12") && !holds("latency_ms.all.p99<12"));
        assert!(!holds("requests.failed>0") && holds("requests.failed<=0"));
        assert!(holds("causes.first>2") && !holds("causes.misplaced>0"));
    }

    #[test]
    fn what_is_not_there_fails_the_run() {
        assert!(holds("latency_ms.cold.p99>1") && holds("nonsense<1"));
    }

    #[test]
    fn mistakes_are_named() {
        for wrong in ["cold_rate", "cold_rate>", ">1", "cold rate>1", "a>b", "a>inf"] {
            assert_eq!(wrong.parse::<Condition>(), Err(ConditionError(wrong.to_owned())), "{wrong}");
        }
    }
}
