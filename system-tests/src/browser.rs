//! Pages in a real browser without a window.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// A browser; it is no part of the tests' own tools.
pub struct Browser(String);

impl Browser {
    pub fn find() -> Result<Self> {
        if let Ok(named) = std::env::var("WARMSHARD_BROWSER") {
            return Ok(Self(named));
        }
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
        names.into_iter().find(runs).map(|name| Self(name.to_owned())).context(
            "found no browser, expected `chromium` in PATH or its program in WARMSHARD_BROWSER; \
             on Debian: apt-get install chromium",
        )
    }

    /// The page as its scripts have made it, and what the browser said meanwhile.
    pub fn dom(&self, address: &str) -> Result<(String, String)> {
        let output = self.open(address, &["--dump-dom"])?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    /// Fails unless the page is bright for those who like it so and dark for the others. The
    /// screenshots are kept where WARMSHARD_SCREENSHOTS says.
    pub fn check_light_and_dark(&self, address: &str) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let kept = std::env::var_os("WARMSHARD_SCREENSHOTS").map(PathBuf::from);
        let place = kept.as_deref().unwrap_or(folder.path());
        let shot = |name: &str, scheme: &[&str]| {
            let png = place.join(name);
            let screenshot = format!("--screenshot={}", png.display());
            self.open(address, &[&[screenshot.as_str()][..], scheme].concat())?;
            brightness(&png)
        };
        let light = shot("light.png", &[])?;
        let dark = shot("dark.png", &["--blink-settings=preferredColorScheme=0"])?;
        ensure!(light > 0.8, "the light page has a brightness of {light}");
        ensure!(dark < 0.3, "the dark page has a brightness of {dark}");
        Ok(())
    }

    fn open(&self, address: &str, arguments: &[&str]) -> Result<Output> {
        let (Self(browser), profile) = (self, tempfile::tempdir()?);
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
}

/// How bright a screenshot is on average, 0 to 1: a PNG is too much to read here, so Python's
/// standard library does it.
fn brightness(png: &Path) -> Result<f64> {
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
