//! Bytes of a file: mapped where the file system can, else read whole. The only `unsafe` of the program.
//!
//! A file that is cut short while it is mapped takes its pages away: touching them raises SIGBUS. Before each tensor
//! [`Mapped::bytes`] compares the file with what was opened; what happens between that look and the last access ends in
//! a handler that gives the terminal back, names the file and ends the program with status 1. No number is ever made of
//! pages that are gone.

use super::regular;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The bytes of one file, paged in by the system as they are touched.
#[derive(Debug)]
pub struct Mapped {
    /// Before the pages, so that it is dropped before them.
    #[cfg(unix)]
    _registered: Option<fault::Registered>,
    pages: Pages,
    /// The file as it was opened; `None` for bytes of the program.
    stamp: Option<Stamp>,
}

#[derive(Debug)]
enum Pages {
    Map(memmap2::Mmap),
    /// Read, where the file system maps nothing.
    Read(Vec<u8>),
    /// Inside the program.
    Embedded(&'static [u8]),
}

/// What tells a file from what it becomes when it is written again. No descriptor is held: a checkpoint of many shards
/// would need as many.
#[derive(Debug)]
struct Stamp {
    path: PathBuf,
    /// Device and number of the file, zeros where the system has none.
    number: (u64, u64),
    length: u64,
    modified: Option<SystemTime>,
}

impl Mapped {
    /// Maps a regular file read-only. An empty file gives no bytes.
    ///
    /// # Errors
    /// As [`regular::open`], and where the file can be neither mapped nor read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (file, meta) = regular::open(path)?;
        let stamp = Stamp::of(path, &meta);
        let pages = match map(&file, meta.len())? {
            Some(map) => Pages::Map(map),
            None => Pages::Read(read(file, meta.len())?),
        };
        #[cfg(unix)]
        let registered = match &pages {
            Pages::Map(map) => Some(fault::Registered::new(map, path)),
            _ => None,
        };
        Ok(Self {
            #[cfg(unix)]
            _registered: registered,
            pages,
            stamp: Some(stamp),
        })
    }

    /// Bytes that are part of the program.
    pub fn embedded(bytes: &'static [u8]) -> Self {
        Self {
            #[cfg(unix)]
            _registered: None,
            pages: Pages::Embedded(bytes),
            stamp: None,
        }
    }

    /// All bytes, as they were when the file was opened.
    pub fn all(&self) -> &[u8] {
        match &self.pages {
            Pages::Map(map) => map,
            Pages::Read(bytes) => bytes,
            Pages::Embedded(bytes) => bytes,
        }
    }

    /// All bytes, after checking that the file was neither cut short nor written again since it was opened.
    ///
    /// # Errors
    /// `UnexpectedEof` where it is shorter, `InvalidData` where it was written again.
    pub fn bytes(&self) -> io::Result<&[u8]> {
        // What was read does not change.
        if let (Some(stamp), Pages::Map(_)) = (&self.stamp, &self.pages) {
            stamp.check()?;
        }
        Ok(self.all())
    }

    /// Whether the path still leads to the file that was opened, unchanged.
    pub fn is_current(&self) -> bool {
        self.stamp.as_ref().is_none_or(|stamp| stamp.current().is_some_and(|m| stamp.same(&m)))
    }

    /// Length and times of the file, which change when it is written; `None` for bytes of the program, for a file that
    /// is no longer the one that was opened, and for one written so recently that a second writing might leave the same
    /// times.
    pub fn identity(&self) -> Option<String> {
        let stamp = self.stamp.as_ref()?;
        let meta = stamp.current().filter(|m| stamp.same(m))?;
        let modified = meta.modified().ok()?;
        let settled = modified.elapsed().is_ok_and(|age| age > std::time::Duration::from_secs(2));
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt;
            format!("{}.{}", meta.ctime(), meta.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed = "";
        settled.then(|| format!("{} {} {changed}", meta.len(), since.as_nanos()))
    }

    /// Gives the whole pages inside a range back to the system; touching them again reads them from the file again.
    pub fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if let Pages::Map(map) = &self.pages
            && range.end <= map.len()
        {
            const PAGE: usize = 65536;
            let (from, to) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
            if from < to {
                #[expect(
                    unsafe_code,
                    reason = "DONTNEED loses writes; this map is read-only and backed by the file, so nothing is lost"
                )]
                // A system that does not take the advice keeps the pages: no harm.
                let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, to - from) };
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Stamp {
    fn of(path: &Path, meta: &Metadata) -> Self {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Self { path, number: number(meta), length: meta.len(), modified: meta.modified().ok() }
    }

    /// What lies there now, if it is still the same file.
    fn current(&self) -> Option<Metadata> {
        // A file that was deleted or replaced by another stays whole for as long as it is mapped.
        std::fs::metadata(&self.path).ok().filter(|m| number(m) == self.number)
    }

    fn same(&self, meta: &Metadata) -> bool {
        meta.len() == self.length && meta.modified().ok() == self.modified
    }

    fn check(&self) -> io::Result<()> {
        let Some(meta) = self.current() else { return Ok(()) };
        if meta.len() < self.length {
            let text = format!("was cut short from {} to {} bytes while open", self.length, meta.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if self.same(&meta) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "was written again while open"))
    }
}

fn number(meta: &Metadata) -> (u64, u64) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (meta.dev(), meta.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = meta;
        (0, 0)
    }
}

/// Maps a file; `None` where there is nothing to map or the file system cannot.
fn map(file: &File, length: u64) -> io::Result<Option<memmap2::Mmap>> {
    if length == 0 {
        return Ok(None);
    }
    #[expect(
        unsafe_code,
        reason = "mapping is how a checkpoint larger than memory is read; the file is opened read-only, bytes() looks \
                  whether it changed before each tensor, and the handler below ends the program if its pages go away"
    )]
    let map = unsafe { memmap2::Mmap::map(file) };
    match map {
        Ok(map) => Ok(Some(map)),
        Err(e) if is_unmappable(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// ENODEV is what file systems without mapping say; some of FUSE and 9p say that it is invalid or not supported.
fn is_unmappable(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let known = [Errno::NODEV, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
        known.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Reads a whole file.
fn read(file: File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let room = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.try_reserve_exact(room).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(unix)]
pub use fault::before_the_end;

/// The handler of SIGBUS.
#[cfg(unix)]
#[expect(unsafe_code, reason = "signal handlers have no safe form; what each part relies on stands beside it")]
mod fault {
    use crate::text::shown;
    use std::path::Path;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
    use std::sync::{Once, OnceLock};

    /// Where a map lies, and what to say when its pages are gone. Never freed, so that the handler can read the list
    /// at any time; some hundred bytes for each file opened.
    #[derive(Debug)]
    struct Place {
        from: AtomicUsize,
        to: AtomicUsize,
        words: String,
        next: AtomicPtr<Place>,
    }

    static PLACES: AtomicPtr<Place> = AtomicPtr::new(null_mut());
    static ENDING: AtomicBool = AtomicBool::new(false);
    static BEFORE: OnceLock<fn()> = OnceLock::new();
    static OLD: OnceLock<Old> = OnceLock::new();

    struct Old(libc::sigaction);
    // SAFETY: plain numbers and a function's address, never changed.
    unsafe impl Sync for Old {}
    // SAFETY: as above.
    unsafe impl Send for Old {}

    /// What is done before the program ends because a file's pages are gone: gives the terminal back. It is called in
    /// a signal handler, where locks, allocation and buffered output are not allowed.
    pub fn before_the_end(action: fn()) {
        let _ = BEFORE.set(action);
    }

    /// A map in the list, taken out when dropped.
    #[derive(Debug)]
    pub struct Registered(&'static Place);

    impl Registered {
        pub fn new(bytes: &[u8], path: &Path) -> Self {
            static INSTALL: Once = Once::new();
            INSTALL.call_once(install);
            let path = path.display().to_string();
            let words = format!(
                "slimscope: {}: was cut short or written again while it was open; open it again once it is complete\n",
                shown(&path)
            );
            let from = bytes.as_ptr() as usize;
            let place: &'static mut Place = Box::leak(Box::new(Place {
                from: AtomicUsize::new(from),
                to: AtomicUsize::new(from + bytes.len()),
                words,
                next: AtomicPtr::new(null_mut()),
            }));
            let place: *mut Place = place;
            let mut first = PLACES.load(Ordering::Acquire);
            loop {
                // SAFETY: leaked above, so it lives for ever; nobody else has it before the exchange succeeds.
                let this: &'static Place = unsafe { &*place };
                this.next.store(first, Ordering::Release);
                match PLACES.compare_exchange(first, place, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Self(this),
                    Err(now) => first = now,
                }
            }
        }
    }

    impl Drop for Registered {
        fn drop(&mut self) {
            self.0.to.store(0, Ordering::Release);
        }
    }

    fn install() {
        // SAFETY: both structures are plain C data for which zeros are valid, the mask is initialised by the system,
        // and the handler has the signature that SA_SIGINFO asks for.
        unsafe {
            let mut new: libc::sigaction = std::mem::zeroed();
            let mut old: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
            new.sa_sigaction = handler as usize;
            // Rust gives each of its threads a stack for signals.
            new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut new.sa_mask);
            if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut old) == 0 {
                let _ = OLD.set(Old(old));
                libc::sigaction(libc::SIGBUS, &raw const new, null_mut());
            }
        }
    }

    /// The place that an address lies in.
    fn place(address: usize) -> Option<&'static Place> {
        let mut at = PLACES.load(Ordering::Acquire);
        // SAFETY: the pointers are null or those of leaked places.
        while let Some(place) = unsafe { at.as_ref() } {
            if (place.from.load(Ordering::Acquire)..place.to.load(Ordering::Acquire)).contains(&address) {
                return Some(place);
            }
            at = place.next.load(Ordering::Acquire);
        }
        None
    }

    extern "C" fn handle(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        // SAFETY: the system hands over what happened; only functions that are allowed in handlers are called: atomic
        // loads, write, sigaction, _exit, and an action that keeps to the same.
        unsafe {
            let Some(place) = place((*info).si_addr() as usize) else {
                // Not ours: the instruction is repeated under the handler that was there before.
                if let Some(old) = OLD.get() {
                    libc::sigaction(libc::SIGBUS, &raw const old.0, null_mut());
                }
                return;
            };
            if !ENDING.swap(true, Ordering::SeqCst) {
                if let Some(action) = BEFORE.get() {
                    action();
                }
                libc::write(2, place.words.as_ptr().cast(), place.words.len());
                libc::_exit(1);
            }
            // Another thread met the same and ends the program.
            loop {
                libc::pause();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_mapped_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, [7; 5000]).unwrap();
        assert_eq!(read(File::open(&path).unwrap(), 5000).unwrap(), Mapped::open(&path).unwrap().all());
        assert!(is_unmappable(&io::Error::from_raw_os_error(19)), "ENODEV");
        assert!(!is_unmappable(&io::Error::from_raw_os_error(12)), "ENOMEM");
    }

    #[test]
    fn writing_again_is_noticed_and_replacing_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let write = |path: &Path, byte: u8, age: u64| {
            std::fs::write(path, [byte; 5000]).unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(age);
            File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        };
        write(&path, 1, 90);
        let open = Mapped::open(&path).unwrap();
        assert!(open.bytes().is_ok() && open.identity().is_some() && open.is_current());
        write(&dir.path().join("y"), 2, 60);
        std::fs::rename(dir.path().join("y"), &path).unwrap();
        assert_eq!(open.bytes().unwrap()[0], 1, "the old file lives on");
        assert!(open.identity().is_none() && !open.is_current());
        let open = Mapped::open(&path).unwrap();
        write(&path, 3, 30);
        assert!(open.bytes().unwrap_err().to_string().contains("written again"));
        assert!(open.identity().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_sockets_devices_and_folders_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for (path, word) in [
            (fifo.as_path(), "named pipe"),
            (&dir.path().join("socket"), "socket"),
            (Path::new("/dev/zero"), "device"),
            (dir.path(), "folder"),
        ] {
            let told = Mapped::open(path).unwrap_err().to_string();
            assert!(told.contains(word), "{told}");
        }
    }
}
