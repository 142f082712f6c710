//! Error numbers as WASI and Emscripten count them.

use std::fmt;

/// Why a file operation was refused. Emscripten's system calls return it negated, WASI's as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($name:ident $number:literal $text:literal)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self($number);)*

            /// The name C gives it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    _ => "E?",
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

errnos! {
    EACCES 2 "permission denied"
    EAGAIN 6 "not ready yet"
    EBADF 8 "not an open descriptor, or not open for this"
    EBUSY 10 "in use"
    EEXIST 20 "exists already"
    EFAULT 21 "address outside the guest's memory"
    EFBIG 22 "file too large"
    EILSEQ 25 "name is not UTF-8"
    EINTR 27 "interrupted"
    EINVAL 28 "invalid argument"
    EIO 29 "input or output failed"
    EISDIR 31 "is a directory"
    ELOOP 32 "too many symbolic links"
    EMFILE 33 "too many open descriptors"
    EMLINK 34 "too many links"
    ENAMETOOLONG 37 "name too long"
    ENODEV 43 "no such device"
    ENOENT 44 "no such file or directory"
    ENOMEM 48 "out of memory"
    ENOSPC 51 "no space left"
    ENOSYS 52 "not implemented"
    ENOTDIR 54 "not a directory"
    ENOTEMPTY 55 "directory not empty"
    ENOTSUP 58 "not supported"
    ENOTTY 59 "not a terminal"
    ENXIO 60 "no such device or address"
    EOVERFLOW 61 "value too large"
    EPERM 63 "operation not permitted"
    EPIPE 64 "broken pipe"
    ERANGE 68 "result too large"
    EROFS 69 "read-only file system"
    ESPIPE 70 "cannot seek"
    EXDEV 75 "on another device"
}

impl Errno {
    /// The positive number WASI calls return.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The negated number Emscripten's `__syscall_*` functions return.
    pub fn negated(self) -> i32 {
        -i32::from(self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Errno {}
