//! Files in memory that nobody can change any more.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A file without a place on any disk, of a size and content that are final.
///
/// What isolates map has to stay as it is: reading a page beyond the end of a file that
/// was truncated is a SIGBUS, and so is an error of the disk.
#[derive(Debug)]
pub(crate) struct SealedFile(File);

impl SealedFile {
    /// Takes in everything `content` gives. `name` is shown in `/proc/PID/maps`.
    pub(crate) fn new(name: &str, content: &mut impl Read) -> io::Result<Self> {
        // Longer names are refused by the kernel.
        let name: String = name.chars().filter(|letter| *letter != '\0').take(60).collect();
        let mut file = File::from(memfd_create(&name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        io::copy(content, &mut file)?;
        let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&file, all)?;
        Ok(Self(file))
    }

    pub(crate) fn into_file(self) -> File {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_sealed_file_stays_as_it_is() {
        let file = SealedFile::new("a\0name", &mut &b"content"[..]).unwrap().into_file();
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(100).is_err());
        assert!(file.write_at(b"x", 0).is_err());
        let mut content = [0; 7];
        file.read_exact_at(&mut content, 0).unwrap();
        assert_eq!(&content, b"content");
    }
}
