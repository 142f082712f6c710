//! The load tester's page in a real browser.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::load::output;

/// Plots that every report of the simulator has something to show for.
const PLOTS: usize = 10;

/// The browser; it is no part of the tests' own tools.
pub(crate) fn browser() -> Result<String> {
    if let Ok(named) = std::env::var("WARMSHARD_BROWSER") {
        return Ok(named);
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    names.into_iter().find(runs).map(str::to_owned).context(
        "found no browser, expected `chromium` in PATH or its program in WARMSHARD_BROWSER; \
         on Debian: apt-get install chromium",
    )
}

/// Opens a page without a window.
pub(crate) fn browse(browser: &str, address: &str, arguments: &[&str]) -> Result<std::process::Output> {
    let profile = tempfile::tempdir()?;
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--window-size=1280,2600", "--virtual-time-budget=5000"])
        .args(arguments)
        .arg(address)
        .output()
        .with_context(|| format!("cannot start {browser}"))?;
    ensure!(output.status.success(), "{browser}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

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

/// How bright a screenshot is on average, 0 to 1: a PNG is too much to read here, so Python's
/// standard library does it.
pub(crate) fn brightness(png: &Path) -> Result<f64> {
    const SCRIPT: &str = "
import struct, sys, zlib
data = open(sys.argv[1], 'rb').read()
width, height, depth, kind = struct.unpack('>IIBB', data[16:26])
assert depth == 8 and kind in (2, 6), (depth, kind)
at, packed = 8, b''
while at < len(data):
    size, name = struct.unpack('>I4s', data[at:at + 8])
    packed += data[at + 8:at + 8 + size] if name == b'IDAT' else b''
    at += size + 12
raw, step = zlib.decompress(packed), 3 if kind == 2 else 4
before, total = bytearray(width * step), 0
for row in range(height):
    start = row * (width * step + 1)
    how, line = raw[start], bytearray(raw[start + 1:start + 1 + width * step])
    for n in range(len(line)):
        a = line[n - step] if n >= step else 0
        b, c = before[n], before[n - step] if n >= step else 0
        p = a + b - c
        near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        line[n] = (line[n] + (0, a, b, (a + b) // 2, near)[how]) & 255
    before, total = line, total + sum(line[::step])
print(total / (width * height * 255))
";
    let output = Command::new("python3").args(["-c", SCRIPT]).arg(png).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

#[test]
#[ignore = "needs a browser: apt-get install chromium, then `cargo test -p system-tests load_page -- --ignored`"]
fn the_page_draws_its_plots_in_light_and_dark_without_errors() -> Result<()> {
    let browser = browser()?;
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
    let dumped = browse(&browser, &address, &["--dump-dom"])?;
    let dom = String::from_utf8_lossy(&dumped.stdout);
    let said = String::from_utf8_lossy(&dumped.stderr);
    assert!(!said.contains("CONSOLE"), "{said}");
    assert!(!dom.contains("data-error"), "{}", &dom[..dom.len().min(500)]);
    let plots = dom.matches("<section data-plot=").count();
    assert!(plots >= PLOTS, "{plots} plots, expected {PLOTS}");
    assert!(dom.contains("kill host-1") && dom.matches("<path").count() >= 6);

    let measured = file("measured.html");
    std::fs::write(&measured, std::fs::read_to_string(&page)? + OVERLAPS)?;
    let dumped = browse(&browser, &format!("file://{}", measured.display()), &["--dump-dom"])?;
    let dom = String::from_utf8_lossy(&dumped.stdout);
    let overlaps = dom.split("data-overlaps=\"").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(overlaps, Some("0"), "labels lie on one another");

    let shot = |name: &str, scheme: &[&str]| {
        let png = file(name);
        let screenshot = format!("--screenshot={}", png.display());
        browse(&browser, &address, &[&[screenshot.as_str()][..], scheme].concat())?;
        brightness(&png)
    };
    let light = shot("light.png", &[])?;
    let dark = shot("dark.png", &["--blink-settings=preferredColorScheme=0"])?;
    assert!(light > 0.8, "brightness {light}");
    assert!(dark < 0.3, "brightness {dark}");
    Ok(())
}
