//! Memory-mapped bytes: the only `unsafe` in the house.

use std::fs::File;
use std::io;
use std::path::Path;

/// The bytes of one file, paged in by the system as they are touched.
#[derive(Debug)]
pub enum Mapped {
    /// A file on disk.
    File {
        /// Its pages.
        map: memmap2::Mmap,
        /// Kept open to ask for its length again.
        file: File,
    },
    /// Bytes inside the program.
    Embedded(&'static [u8]),
}

impl Mapped {
    /// Maps a file read-only. An empty file gives no bytes.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
        }
        if meta.len() == 0 {
            return Ok(Self::Embedded(&[]));
        }
        #[expect(
            unsafe_code,
            reason = "mapping is how a checkpoint larger than memory is read; the file is opened read-only, and bytes() \
                      re-checks its length before each tensor, which leaves a race only if it shrinks during a decode"
        )]
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self::File { map, file })
    }

    /// All bytes, as they were when the file was opened.
    pub fn all(&self) -> &[u8] {
        match self {
            Self::File { map, .. } => map,
            Self::Embedded(bytes) => bytes,
        }
    }

    /// All bytes, after checking that the file has not been cut short since: touching pages beyond its end would end
    /// the program.
    pub fn bytes(&self) -> io::Result<&[u8]> {
        if let Self::File { map, file } = self {
            let now = file.metadata()?.len();
            if now < map.len() as u64 {
                let text = format!("was cut short from {} to {now} bytes while open", map.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
        Ok(self.all())
    }
}
