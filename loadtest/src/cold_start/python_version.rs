//! Which Python a command runs: asked of the interpreter that the command names, or that
//! the script it names starts with.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use super::child::{ChildGroup, Input};
use super::command::{CommandLine, find_program};

const PATIENCE: Duration = Duration::from_secs(10);

/// None when it cannot be found out; nothing depends on it but a line of the report.
pub(crate) fn of(command: &CommandLine) -> Option<String> {
    let interpreter = interpreter(command.words())?;
    ask(&command.with_words(interpreter))
}

/// The words that start Python, to which `--version` can be added.
fn interpreter(words: &[OsString]) -> Option<Vec<OsString>> {
    let (first, rest) = words.split_first()?;
    if is_python(first) {
        return Some(vec![first.clone()]);
    }
    if let Some(program) = find_program(first)
        && let Some(found) = from_script(&program)
    {
        return Some(found);
    }
    // A launcher such as `env` or `uv run`: everything up to the interpreter.
    let position = rest.iter().position(|word| is_python(word))?;
    Some(words[..=position + 1].to_vec())
}

fn is_python(word: &OsStr) -> bool {
    let name = Path::new(word).file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.starts_with("python") || name.starts_with("pypy")
}

/// The interpreter in the first line of a script.
fn from_script(program: &Path) -> Option<Vec<OsString>> {
    let mut start = Vec::new();
    File::open(program).ok()?.take(1024).read_to_end(&mut start).ok()?;
    let start = String::from_utf8_lossy(&start);
    let mut lines = start.strip_prefix("#!")?.lines();
    let first: Vec<&str> = lines.next()?.split_whitespace().collect();
    if let Some(position) = first.iter().position(|word| is_python(OsStr::new(word))) {
        // `/usr/bin/env python3`, `/usr/bin/env -S python3 -u`, or the interpreter itself.
        return Some(vec![OsString::from(first[position])]);
    }
    // Installers write this where the interpreter's path is too long for a first line:
    // '''exec' /long/path/python "$0" "$@"
    let second = shlex::split(lines.next()?.strip_prefix("'''exec'")?)?;
    let interpreter = second.into_iter().next().map(OsString::from)?;
    is_python(&interpreter).then(|| vec![interpreter])
}

fn ask(interpreter: &CommandLine) -> Option<String> {
    let folder = tempfile::tempdir().ok()?;
    let mut command = interpreter.as_written();
    command.arg("--version");
    let child = ChildGroup::spawn(command, Input::Nothing, &folder.path().join("output")).ok()?;
    let deadline = Instant::now() + PATIENCE;
    while !child.has_ended() {
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    version_in(&child.last_words(20))
}

/// From `Python 3.13.1`, with anything around it.
fn version_in(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Python "))?;
    Some(line.split_whitespace().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with a stand-in interpreter that knows only its version.
    fn folder_with_python() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        script(&folder.path().join("python3"), "#!/bin/sh\n[ \"$1\" = --version ] && echo Python 3.99.1\n");
        folder
    }

    fn script(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn version(command: &str) -> Option<String> {
        of(&CommandLine::parse(command).unwrap())
    }

    #[test]
    fn the_interpreter_itself_and_launchers_are_asked() {
        let folder = folder_with_python();
        let python = folder.path().join("python3").display().to_string();
        assert_eq!(version(&format!("{python} -m uvicorn app:app")).as_deref(), Some("3.99.1"));
        assert_eq!(version(&format!("env A=1 {python} serve.py")).as_deref(), Some("3.99.1"));
    }

    #[test]
    fn the_first_line_of_a_script_is_followed() {
        let folder = folder_with_python();
        let python = folder.path().join("python3").display().to_string();
        let short = folder.path().join("uvicorn");
        script(&short, &format!("#!{python}\nimport uvicorn\n"));
        assert_eq!(version(&format!("{} app:app", short.display())).as_deref(), Some("3.99.1"));
        let long = folder.path().join("long");
        script(&long, &format!("#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''\nimport x\n"));
        assert_eq!(version(&format!("A=1 {} app:app", long.display())).as_deref(), Some("3.99.1"));
    }

    #[test]
    fn what_is_not_python_has_no_version() {
        assert_eq!(version("sh -c 'serve {port}'"), None);
        assert_eq!(version("no-such-program-anywhere"), None);
        assert_eq!(version_in("Python 3.11.2\n").as_deref(), Some("3.11.2"));
        assert_eq!(version_in("bash 5"), None);
    }
}
