//! Finding the files of a bundle: all headers are read and checked, no contents yet.

use super::BundleError;
use super::tar::{self, BLOCK};
use crate::checkpoint::parse_decimal;
use crate::hash::Hash;

/// A source of bytes that can be read at any place: a file, or bytes in memory.
pub trait ReadAt {
    /// The number of bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// Those of the source; an end before the buffer is full is `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()>;
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        u64::try_from(self.len()).unwrap_or(u64::MAX)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let from = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..)?.get(..buffer.len()));
        match from {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }
}

/// Where a file's contents are in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpan {
    /// The path inside the archive.
    pub path: String,
    /// The position of the first byte.
    pub offset: u64,
    /// The length in bytes.
    pub size: u64,
}

impl FileSpan {
    /// The contents of a small file.
    ///
    /// # Errors
    /// [`BundleError::TooLarge`] beyond `most` bytes, [`BundleError::Io`].
    pub fn read(&self, source: &dyn ReadAt, most: u64) -> Result<Vec<u8>, BundleError> {
        let length = usize::try_from(self.size)
            .ok()
            .filter(|_| self.size <= most);
        let Some(length) = length else {
            return Err(BundleError::TooLarge {
                path: self.path.clone(),
                found: self.size,
                most,
            });
        };
        let mut contents = vec![0; length];
        source.read_exact_at(&mut contents, self.offset)?;
        Ok(contents)
    }
}

/// The files of a bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// `README.txt`.
    pub readme: FileSpan,
    /// `plan.toml`, for information.
    pub plan: FileSpan,
    /// The claim, if there is one.
    pub report: Option<FileSpan>,
    /// The logs, ascending by id.
    pub logs: Vec<BundleLog>,
    /// The project log, if the bundle carries one.
    pub project: Option<BundleProject>,
    /// Attachments by the hash in their names, ascending.
    pub inputs: Vec<(Hash, FileSpan)>,
}

/// The files of the project log: every entry from the first one on.
#[derive(Debug, Clone)]
pub struct BundleProject {
    /// The log's name.
    pub origin: FileSpan,
    /// The final note.
    pub checkpoint: FileSpan,
    /// Long bodies by leaf hash, ascending.
    pub blobs: Vec<(Hash, FileSpan)>,
    /// Cosigned notes, ascending by size.
    pub trail: Vec<Trail>,
    /// The entries.
    pub entries: FileSpan,
}

/// The files of one log.
#[derive(Debug, Clone)]
pub struct BundleLog {
    /// SHA-256 of the log's name, as the folder says.
    pub id: Hash,
    /// The log's name.
    pub origin: FileSpan,
    /// The final note.
    pub checkpoint: FileSpan,
    /// The tree before the first entry.
    pub range_start: FileSpan,
    /// What is disclosed.
    pub disclosure: FileSpan,
    /// All control entries, ascending.
    pub controls: Vec<Control>,
    /// Long control bodies by leaf hash, ascending.
    pub blobs: Vec<(Hash, FileSpan)>,
    /// Cosigned notes, ascending by size.
    pub trail: Vec<Trail>,
    /// Timestamps over them, in their order.
    pub timestamps: Vec<Timestamp>,
    /// The entries.
    pub entries: FileSpan,
    /// The payloads.
    pub payload: FileSpan,
}

/// A control entry's files.
#[derive(Debug, Clone)]
pub struct Control {
    /// The index, from the file name.
    pub index: u64,
    /// The entry.
    pub entry: FileSpan,
    /// Its inclusion.
    pub proof: FileSpan,
}

/// A trail note's file.
#[derive(Debug, Clone)]
pub struct Trail {
    /// The size, from the file name.
    pub size: u64,
    /// The note.
    pub note: FileSpan,
}

/// A timestamp's file.
#[derive(Debug, Clone)]
pub struct Timestamp {
    /// Which of [`BundleLog::trail`] it is over, by its file name.
    pub trail: usize,
    /// The authority's answer.
    pub answer: FileSpan,
}

/// The place of a file in the order; ascending order is the order in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Readme,
    Plan,
    Report,
    Log(Hash, LogFile),
    /// The kinds of files of a log that a project log has.
    Project(LogFile),
    Input(Hash),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LogFile {
    Origin,
    Checkpoint,
    RangeStart,
    Disclosure,
    /// Index, and whether this is the proof.
    Control(u64, bool),
    Blob(Hash),
    Trail(u64, u64),
    Time(u64, u64),
    Entries,
    Payload,
}

/// More than this is no bundle: a hundred years of hourly notes fit.
const MOST_FILES: usize = 1_000_000;

fn place(path: &str) -> Option<Place> {
    Some(match path {
        "README.txt" => Place::Readme,
        "plan.toml" => Place::Plan,
        "report/report.json" => Place::Report,
        _ => match path.split_once('/')? {
            ("logs", rest) => {
                let (id, file) = rest.split_once('/')?;
                Place::Log(Hash::from_hex(id).ok()?, log_file(file)?)
            }
            ("project", file) => Place::Project(project_file(file)?),
            ("inputs", hash) => Place::Input(Hash::from_hex(hash).ok()?),
            _ => return None,
        },
    })
}

fn project_file(file: &str) -> Option<LogFile> {
    log_file(file).filter(|file| {
        matches!(
            file,
            LogFile::Origin
                | LogFile::Checkpoint
                | LogFile::Blob(_)
                | LogFile::Trail(..)
                | LogFile::Entries
        )
    })
}

fn log_file(file: &str) -> Option<LogFile> {
    Some(match file.split_once('/') {
        None => match file {
            "origin" => LogFile::Origin,
            "checkpoint" => LogFile::Checkpoint,
            "range-start" => LogFile::RangeStart,
            "disclosure" => LogFile::Disclosure,
            "entries.bin" => LogFile::Entries,
            "payload.bin" => LogFile::Payload,
            _ => return None,
        },
        Some(("control", name)) => match name.split_once('.')? {
            (index, "entry") => LogFile::Control(parse_decimal(index)?, false),
            (index, "proof") => LogFile::Control(parse_decimal(index)?, true),
            _ => return None,
        },
        Some(("blobs", hash)) => LogFile::Blob(Hash::from_hex(hash).ok()?),
        Some(("trail", name)) => {
            let (size, number) = name.split_once('-')?;
            LogFile::Trail(parse_decimal(size)?, parse_decimal(number)?)
        }
        Some(("time", name)) => {
            let (size, number) = name.strip_suffix(".tsr")?.split_once('-')?;
            LogFile::Time(parse_decimal(size)?, parse_decimal(number)?)
        }
        _ => return None,
    })
}

impl Bundle {
    /// Reads all headers of an archive.
    ///
    /// # Errors
    /// [`BundleError`] for everything but an archive as [`super::BundleWriter`] writes it.
    pub fn read(source: &dyn ReadAt) -> Result<Self, BundleError> {
        let mut files: Vec<(Place, FileSpan)> = Vec::new();
        let mut offset = 0;
        while let Some((span, next)) = next_file(source, offset)? {
            let place =
                place(&span.path).ok_or_else(|| BundleError::UnknownFile(span.path.clone()))?;
            if let Some((last, before)) = files.last().filter(|(last, _)| *last >= place) {
                return Err(if *last == place {
                    BundleError::Duplicate(span.path)
                } else {
                    BundleError::Order {
                        path: span.path,
                        after: before.path.clone(),
                    }
                });
            }
            if files.len() >= MOST_FILES {
                return Err(BundleError::TooManyFiles(MOST_FILES));
            }
            files.push((place, span));
            offset = next;
        }
        assemble(files)
    }
}

/// The file whose header stands at `offset` and where the next header stands; none at the end mark.
fn next_file(source: &dyn ReadAt, offset: u64) -> Result<Option<(FileSpan, u64)>, BundleError> {
    let mut block = [0_u8; BLOCK];
    let rest = source.size().saturating_sub(offset);
    if rest < 512 {
        return Err(BundleError::Truncated(source.size()));
    }
    source.read_exact_at(&mut block, offset)?;
    if block == [0; BLOCK] {
        if rest < 1024 {
            return Err(BundleError::Truncated(source.size()));
        }
        source.read_exact_at(&mut block, offset + 512)?;
        return if block == [0; BLOCK] && rest == 1024 {
            Ok(None)
        } else {
            Err(BundleError::Trailing(offset + 512))
        };
    }
    let (path, size) = tar::parse(&block).map_err(|error| BundleError::Header { offset, error })?;
    let start = offset + 512;
    let end = start + size;
    let next = end + tar::padding(size);
    if next > source.size() {
        return Err(BundleError::Truncated(source.size()));
    }
    let padding = usize::try_from(tar::padding(size)).unwrap_or(0);
    let padding = block.get_mut(..padding).unwrap_or_default();
    source.read_exact_at(padding, end)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(BundleError::Padding { path, offset: end });
    }
    Ok(Some((
        FileSpan {
            path,
            offset: start,
            size,
        },
        next,
    )))
}

/// Puts the files, which are in order and known, to their places.
fn assemble(files: Vec<(Place, FileSpan)>) -> Result<Bundle, BundleError> {
    let mut files = files.into_iter().peekable();
    let mut take = |wanted: Place| {
        files
            .next_if(|(place, _)| *place == wanted)
            .map(|(_, span)| span)
    };
    let readme =
        take(Place::Readme).ok_or_else(|| BundleError::Missing("README.txt".to_owned()))?;
    let plan = take(Place::Plan).ok_or_else(|| BundleError::Missing("plan.toml".to_owned()))?;
    let report = take(Place::Report);
    let mut logs = Vec::new();
    while let Some((Place::Log(id, _), _)) = files.peek() {
        let id = *id;
        let mut own = Vec::new();
        while let Some((Place::Log(_, file), span)) =
            files.next_if(|(place, _)| matches!(place, Place::Log(of, _) if *of == id))
        {
            own.push((file, span));
        }
        logs.push(assemble_log(id, own)?);
    }
    if logs.is_empty() {
        return Err(BundleError::Empty);
    }
    let mut own = Vec::new();
    while let Some((Place::Project(file), span)) =
        files.next_if(|(place, _)| matches!(place, Place::Project(_)))
    {
        own.push((file, span));
    }
    let project = match own.is_empty() {
        true => None,
        false => Some(assemble_project(own)?),
    };
    let mut inputs = Vec::new();
    while let Some((Place::Input(hash), span)) = files.next() {
        inputs.push((hash, span));
    }
    Ok(Bundle {
        readme,
        plan,
        report,
        logs,
        project,
        inputs,
    })
}

/// The files of the project log, which stand in the order of their kinds.
fn assemble_project(files: Vec<(LogFile, FileSpan)>) -> Result<BundleProject, BundleError> {
    let missing = |name: &str| BundleError::Missing(format!("project/{name}"));
    let (mut origin, mut checkpoint, mut entries) = (None, None, None);
    let (mut blobs, mut trail) = (Vec::new(), Vec::<Trail>::new());
    let mut expected = (None, 0);
    for (file, span) in files {
        match file {
            LogFile::Origin => origin = Some(span),
            LogFile::Checkpoint => checkpoint = Some(span),
            LogFile::Blob(hash) => blobs.push((hash, span)),
            LogFile::Trail(size, number) => {
                let next = if expected.0 == Some(size) {
                    expected.1 + 1
                } else {
                    0
                };
                expected = (Some(size), next);
                if number != next {
                    return Err(missing(&format!("trail/{size}-{next}")));
                }
                trail.push(Trail { size, note: span });
            }
            _ => entries = Some(span),
        }
    }
    Ok(BundleProject {
        origin: origin.ok_or_else(|| missing("origin"))?,
        checkpoint: checkpoint.ok_or_else(|| missing("checkpoint"))?,
        blobs,
        trail,
        entries: entries.ok_or_else(|| missing("entries.bin"))?,
    })
}

fn assemble_log(id: Hash, files: Vec<(LogFile, FileSpan)>) -> Result<BundleLog, BundleError> {
    let missing = |name: &str| BundleError::Missing(format!("logs/{id}/{name}"));
    let mut files = files.into_iter().peekable();
    let mut one = |wanted: LogFile, name: &str| {
        files
            .next_if(|(file, _)| *file == wanted)
            .map(|(_, span)| span)
            .ok_or_else(|| missing(name))
    };
    let origin = one(LogFile::Origin, "origin")?;
    let checkpoint = one(LogFile::Checkpoint, "checkpoint")?;
    let range_start = one(LogFile::RangeStart, "range-start")?;
    let disclosure = one(LogFile::Disclosure, "disclosure")?;
    let mut controls = Vec::new();
    while let Some((LogFile::Control(index, is_proof), span)) =
        files.next_if(|(file, _)| matches!(file, LogFile::Control(..)))
    {
        if is_proof {
            return Err(missing(&format!("control/{index}.entry")));
        }
        let (_, proof) = files
            .next_if(|(file, _)| *file == LogFile::Control(index, true))
            .ok_or_else(|| missing(&format!("control/{index}.proof")))?;
        controls.push(Control {
            index,
            entry: span,
            proof,
        });
    }
    let mut blobs = Vec::new();
    while let Some((LogFile::Blob(hash), span)) =
        files.next_if(|(file, _)| matches!(file, LogFile::Blob(_)))
    {
        blobs.push((hash, span));
    }
    let mut trail: Vec<Trail> = Vec::new();
    let mut names = Vec::new();
    let mut expected = (None, 0);
    while let Some((LogFile::Trail(size, number), note)) =
        files.next_if(|(file, _)| matches!(file, LogFile::Trail(..)))
    {
        expected = if expected.0 == Some(size) {
            (Some(size), expected.1 + 1)
        } else {
            (Some(size), 0)
        };
        if number != expected.1 {
            return Err(missing(&format!("trail/{size}-{}", expected.1)));
        }
        names.push((size, number));
        trail.push(Trail { size, note });
    }
    let mut timestamps = Vec::new();
    while let Some((LogFile::Time(size, number), answer)) =
        files.next_if(|(file, _)| matches!(file, LogFile::Time(..)))
    {
        let of = names.binary_search(&(size, number));
        let trail = of.map_err(|_e| missing(&format!("trail/{size}-{number}")))?;
        timestamps.push(Timestamp { trail, answer });
    }
    let mut last = |wanted: LogFile, name: &str| {
        files
            .next_if(|(file, _)| *file == wanted)
            .map(|(_, span)| span)
            .ok_or_else(|| missing(name))
    };
    let entries = last(LogFile::Entries, "entries.bin")?;
    let payload = last(LogFile::Payload, "payload.bin")?;
    Ok(BundleLog {
        id,
        origin,
        checkpoint,
        range_start,
        disclosure,
        controls,
        blobs,
        trail,
        timestamps,
        entries,
        payload,
    })
}
