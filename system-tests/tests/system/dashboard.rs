//! The router's dashboard: as it is served, and in a real browser.

use anyhow::{Context, Result};
use system_tests::Fleet;
use system_tests::browser::Browser;

use crate::fleet;

fn page(admin: &str) -> String {
    format!("http://{admin}/")
}

#[test]
fn the_dashboard_is_one_page_that_needs_nothing_else() -> Result<()> {
    let fleet = fleet(1)?;
    let answer = fleet.client().get(page(&fleet.admin)).send()?;
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str()?.to_owned();
    assert!(kind.starts_with("text/html"), "{kind}");
    let policy = answer.headers()["content-security-policy"].to_str()?.to_owned();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    let text = answer.text()?;
    // The name of the vocabulary of SVG is no address that anybody asks.
    let text = text.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http://", "https://", " src=", "@import", "url("] {
        assert!(!text.contains(outside), "found {outside}");
    }
    Ok(())
}

#[test]
#[ignore = "needs a browser: apt-get install chromium, then `cargo test -p system-tests dashboard -- --ignored`"]
fn the_dashboard_shows_the_fleet_in_light_and_dark_without_errors() -> Result<()> {
    let browser = Browser::find()?;
    let fleet: Fleet = fleet(2)?;
    for path in ["/", "/", "/"] {
        assert_eq!(fleet.get("hello", path)?.status, 200);
    }
    let page = page(&fleet.admin);
    let (dom, said) = browser.dom(&page)?;
    assert!(!said.contains("CONSOLE"), "{said}");
    let ticks = dom.split("data-ticks=\"").nth(1).and_then(|rest| rest.split('"').next());
    assert!(ticks.context("never drawn")?.parse::<u32>()? >= 2, "it is live: {ticks:?}");
    let epoch = fleet.client().get(format!("{page}ring")).send()?.json::<serde_json::Value>()?;
    for expected in
        [epoch["epoch"].as_str().context("an epoch")?, "host-a", "host-b", "eligible", "<td>hello</td>"]
    {
        assert!(dom.contains(expected), "no {expected} in {dom}");
    }
    browser.check_light_and_dark(&page)
}
