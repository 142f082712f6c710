//! One page with plots, complete in itself: the report's JSON and a script that draws it.

use std::path::Path;

use serde_json::Value;

use super::{WriteError, replace_text};

const PAGE: &str = include_str!("page.html");

/// Writes the page of a report, whole or not at all.
pub fn write_html(path: &Path, title: &str, report: &Value) -> Result<(), WriteError> {
    replace_text(path, page(title, report).as_bytes())
        .map_err(|source| WriteError { path: path.to_owned(), source })
}

fn page(title: &str, report: &Value) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Inside a script element only `</` and `<!--` could end or change what is read.
    let data = report.to_string().replace('<', "\\u003c");
    PAGE.replace("{{title}}", &title).replace("{{data}}", &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_cannot_break_out_of_the_page() {
        let evil = serde_json::json!({"target": "</script><script>alert(1)</script>"});
        let page = page("<b>", &evil);
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(page.contains("&lt;b&gt;") && !page.contains("{{"));
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for word in ["http://", "https://", "src=", "<link", "import(", "fetch("] {
            let found = PAGE.replace("http://www.w3.org/2000/svg", "").matches(word).count();
            assert_eq!(found, 0, "{word}");
        }
    }
}
