//! Opening files that a user or an index names: regular ones alone. A FIFO would wait for a writer, a device may never
//! end.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file for reading, links followed.
///
/// # Errors
/// Whatever the system says, and `InvalidInput` for anything that is no regular file.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Asked before, because opening a device can have effects, and again of what was opened.
    check(&std::fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits() as i32);
    }
    let file = options.open(path)?;
    let meta = file.metadata()?;
    check(&meta)?;
    Ok((file, meta))
}

/// All bytes of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and `FileTooLarge` above `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, meta) = open(path)?;
    let large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("is longer than {} MB", most >> 20));
    if meta.len() > most {
        return Err(large());
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    // It may grow while it is read.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(large()) } else { Ok(bytes) }
}

/// The text of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`read`], and `InvalidData` where it is not UTF-8.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()))
}

/// What a user can do about a file that cannot be opened.
pub fn remedy(error: &io::Error) -> &'static str {
    #[cfg(unix)]
    if [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
    {
        return "allow more open files: `ulimit -n 4096`";
    }
    match error.kind() {
        io::ErrorKind::NotFound => "check that it exists",
        io::ErrorKind::PermissionDenied => "check its permissions",
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => "name a regular file",
        io::ErrorKind::OutOfMemory => "free some memory",
        _ => "see the cause below",
    }
}

fn check(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, not a file"));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("is {}, not a regular file", word(kind))))
}

fn word(kind: std::fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    let _ = kind;
    "something else"
}
