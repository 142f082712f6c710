//! A command as it is written in one argument. It is split into words like a shell would,
//! but no shell runs it: starting one would be part of what is measured.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

const PORT: &str = "{port}";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("found `{0}`, expected a command with matching quotes")]
    Quotes(String),
    #[error("found `{0}`, expected a program to start")]
    Empty(String),
    #[error("found `{0}`, expected {{port}} in it where the port goes, as in `--port {{port}}`")]
    NoPort(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    text: String,
    environment: Vec<(String, String)>,
    words: Vec<OsString>,
}

impl CommandLine {
    pub(crate) fn parse(text: &str) -> Result<Self, CommandError> {
        let words = shlex::split(text).ok_or_else(|| CommandError::Quotes(text.to_owned()))?;
        let environment: Vec<_> = words.iter().map_while(|word| assignment(word)).collect();
        let words: Vec<_> = words.into_iter().skip(environment.len()).map(OsString::from).collect();
        if words.is_empty() {
            return Err(CommandError::Empty(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), environment, words })
    }

    pub(crate) fn of_program(program: &Path) -> Self {
        Self {
            text: program.display().to_string(),
            environment: Vec::new(),
            words: vec![program.as_os_str().to_owned()],
        }
    }

    pub(crate) fn needing_port(self) -> Result<Self, CommandError> {
        if self.text.contains(PORT) { Ok(self) } else { Err(CommandError::NoPort(self.text)) }
    }

    pub(crate) fn with_port(&self, port: u16) -> Command {
        self.command(|text| text.replace(PORT, &port.to_string()))
    }

    pub(crate) fn as_written(&self) -> Command {
        self.command(str::to_owned)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn words(&self) -> &[OsString] {
        &self.words
    }

    /// The same environment, another program.
    pub(crate) fn with_words(&self, words: Vec<OsString>) -> Self {
        Self { text: self.text.clone(), environment: self.environment.clone(), words }
    }

    fn command(&self, fill_in: impl Fn(&str) -> String) -> Command {
        let fill_in_os = |word: &OsStr| match word.to_str() {
            Some(text) => OsString::from(fill_in(text)),
            None => word.to_owned(),
        };
        let mut command = Command::new(fill_in_os(&self.words[0]));
        command.args(self.words[1..].iter().map(|word| fill_in_os(word)));
        command.envs(self.environment.iter().map(|(name, value)| (name, fill_in(value))));
        command
    }
}

/// `NAME=value`, as shells take them in front of a command.
fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let allowed =
        |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit());
    let valid = !name.is_empty() && name.chars().enumerate().all(allowed);
    valid.then(|| (name.to_owned(), value.to_owned()))
}

/// The file a program name stands for, looked up like `exec` does.
pub(crate) fn find_program(name: &OsStr) -> Option<PathBuf> {
    let path = Path::new(name);
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(path)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(command: &Command) -> Vec<&str> {
        command.get_args().map(|argument| argument.to_str().unwrap()).collect()
    }

    #[test]
    fn words_environment_and_port_are_told_apart() {
        let line = CommandLine::parse("A=1 B='x {port}' uvicorn 'my app:app' --port {port}").unwrap();
        let command = line.needing_port().unwrap().with_port(8123);
        assert_eq!(command.get_program(), "uvicorn");
        assert_eq!(arguments(&command), ["my app:app", "--port", "8123"]);
        let environment: Vec<_> = command.get_envs().collect();
        assert_eq!(environment[1], (OsStr::new("B"), Some(OsStr::new("x 8123"))));
    }

    #[test]
    fn an_equals_sign_in_an_argument_is_no_assignment() {
        let line = CommandLine::parse("serve --port={port} A=1").unwrap();
        assert_eq!(arguments(&line.with_port(7)), ["--port=7", "A=1"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let error = |text: &str| CommandLine::parse(text).and_then(CommandLine::needing_port).unwrap_err();
        assert_eq!(error("uvicorn 'app"), CommandError::Quotes("uvicorn 'app".to_owned()));
        assert_eq!(error("A=1"), CommandError::Empty("A=1".to_owned()));
        assert!(error("uvicorn app:app").to_string().contains("{port} in it"));
    }

    #[test]
    fn programs_are_found_like_exec_finds_them() {
        assert!(find_program(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(find_program(OsStr::new("./no-such-program")), None);
        assert_eq!(find_program(OsStr::new("no-such-program-anywhere")), None);
    }
}
