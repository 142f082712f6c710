//! The load tester's page in a real browser.

use anyhow::{Result, ensure};
use system_tests::browser::Browser;

use crate::load::output;

/// Plots that every report of the simulator has something to show for.
const PLOTS: usize = 10;

/// Counts pairs of labels of one plot that lie on one another, in the page itself.
const OVERLAPS: &str = "<script>
let overlaps = 0;
for (const svg of document.querySelectorAll('svg')) {
  const boxes = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect());
  boxes.forEach((one, index) => boxes.slice(index + 1).forEach(other => {
    const apart = one.right <= other.left || other.right <= one.left || one.bottom <= other.top || other.bottom <= one.top;
    overlaps += apart ? 0 : 1;
  }));
}
document.documentElement.dataset.overlaps = overlaps;
</script>";

#[test]
#[ignore = "needs a browser: apt-get install chromium, then `cargo test -p system-tests load_page -- --ignored`"]
fn the_page_draws_its_plots_in_light_and_dark_without_errors() -> Result<()> {
    let browser = Browser::find()?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    std::fs::write(
        file("scenario.toml"),
        "duration = \"10m\"\nworkers = { count = 60, popularity = \"zipf\" }\n\
         load = { rate = 40, arrivals = \"poisson\" }\nsimulate = { routers = 2, isolates = 8 }\n\
         [[events]]\nat = \"5m\"\naction = \"kill-host\"\nhost = \"host-1\"\n",
    )?;
    let (scenario, page) = (file("scenario.toml").display().to_string(), file("page.html"));
    let html = page.display().to_string();
    let simulate = ["simulate", "--hosts", "4", "--scenario", &scenario, "--html", &html];
    let made = output(&simulate)?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let address = format!("file://{}", page.display());
    let (dom, said) = browser.dom(&address)?;
    assert!(!said.contains("CONSOLE"), "{said}");
    assert!(!dom.contains("data-error"), "{}", &dom[..dom.len().min(500)]);
    let plots = dom.matches("<section data-plot=").count();
    assert!(plots >= PLOTS, "{plots} plots, expected {PLOTS}");
    assert!(dom.contains("kill host-1") && dom.matches("<path").count() >= 6);

    let measured = file("measured.html");
    std::fs::write(&measured, std::fs::read_to_string(&page)? + OVERLAPS)?;
    let (dom, _) = browser.dom(&format!("file://{}", measured.display()))?;
    let overlaps = dom.split("data-overlaps=\"").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(overlaps, Some("0"), "labels lie on one another");
    browser.check_light_and_dark(&address)
}
