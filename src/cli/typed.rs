//! Shares of a root key as people type them in, or another program hands them over: one a line, on
//! standard input. A terminal shows nothing of them, and whoever mistypes is asked again.
//!
//! Read byte by byte past the standard library's buffer, which nobody would wipe.

use std::io::{Stdin, stdin};

use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr,
};

use crate::config::{Gathering, RootKey, RootKeySource};
use crate::secret::{CleartextBody, SecretBytes};

use super::said::{ask, complain};

/// What Ctrl-C types.
const CTRL_C: u8 = 0x03;
/// Longer than any spelling of a share.
const LINE_MAX: usize = 512;

/// Has every root key typed in that is kept in shares.
pub(super) fn root_keys(keys: &mut [RootKey]) -> Result<(), String> {
    let mut lines = Lines { input: stdin(), read: 0 };
    for root in keys {
        if let RootKeySource::Shares(needed) = root.key {
            root.key = RootKeySource::Read(lines.gather(needed, &root.path)?);
        }
    }
    Ok(())
}

/// Lines of standard input.
struct Lines {
    input: Stdin,
    /// How many there were.
    read: usize,
}

impl Lines {
    /// The key named `path`, from so many shares.
    fn gather(&mut self, needed: u8, path: &str) -> Result<SecretBytes, String> {
        let terminal = isatty(&self.input);
        let hidden = terminal.then(Hidden::begin).transpose();
        let _hidden = hidden.map_err(|_| "the terminal cannot be kept from showing shares")?;
        let mut gathering = Gathering::of(needed);
        loop {
            let given = usize::from(needed) - gathering.missing();
            if terminal {
                ask(&format_args!("{path}: share {} of {needed}: ", given + 1));
            }
            let line = self.read_line().map_err(|error| match error {
                Errno::INTR => format!("{path}: interrupted after {given} of {needed} shares"),
                error => format!("standard input: {error}"),
            })?;
            if terminal {
                complain(&"");
            }
            let Some(line) = line else {
                return Err(format!(
                    "{path}: standard input ended after {given} of {needed} shares"
                ));
            };
            match gathering.add(line.as_bytes()) {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(error) if terminal && gathering.missing() > 0 => {
                    complain(&format_args!("{path}: the share {error}; once more"));
                }
                Err(error) => {
                    return Err(format!("{path}: line {} of standard input {error}", self.read));
                }
            }
        }
    }

    /// The next line that is not empty; nothing at the end. What is too long is cut off, which no
    /// share survives.
    fn read_line(&mut self) -> Result<Option<CleartextBody>, Errno> {
        let mut line = CleartextBody::with_capacity(LINE_MAX);
        loop {
            let mut byte = [0];
            let ended =
                rustix::io::retry_on_intr(|| rustix::io::read(&self.input, &mut byte))? == 0;
            match byte {
                [CTRL_C] if !ended => return Err(Errno::INTR),
                [sign] if !ended && sign != b'\n' => {
                    if line.len() < LINE_MAX {
                        line.push(sign);
                    }
                }
                _ => {
                    self.read += 1;
                    if !line.as_bytes().trim_ascii().is_empty() {
                        return Ok(Some(line));
                    }
                    line.clear();
                    if ended {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    /// What was typed before, in sight, is dropped.
    fn begin() -> Result<Self, Errno> {
        let before = tcgetattr(stdin())?;
        let mut hidden = before.clone();
        // Ctrl-C comes as a byte and at once: as a signal it would leave the terminal as it is now.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}
