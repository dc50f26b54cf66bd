//! The pass over a log on all processors.
//!
//! One thread takes the entries in order and hands them on in small jobs; whoever is free checks
//! signatures and decodes payloads, the first thread too when it has nothing else to do; results come
//! back in order. At most [`MOST_OPEN_JOBS`] per thread are open at once, so memory does not depend on
//! the length of the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use evidence::bundle::ReadAt;
use evidence::hash::Origin;
use evidence::verification::{Checked, Failure, Frames, LogVerifier, Task};

/// Jobs in flight per thread.
const MOST_OPEN_JOBS: usize = 6;
/// A job is closed when it has this many entries, payload bytes or decoded values.
const JOB_ENTRIES: usize = 32;
const JOB_BYTES: u64 = 1 << 20;
const JOB_SAMPLES: u64 = 1 << 18;
/// How much of `entries.bin` is read at once: some 2,000 entries.
const PIECE_BYTES: usize = 768 << 10;

/// The number of processors, at least 1.
#[must_use]
pub fn available_threads() -> u16 {
    std::thread::available_parallelism()
        .map_or(1, |count| u16::try_from(count.get()).unwrap_or(u16::MAX))
}

struct Job<'b> {
    number: u64,
    tasks: Vec<Task<'b>>,
    payloads: Vec<u8>,
}

type Results = Vec<Result<Checked, Failure>>;

#[derive(Default)]
struct Board<'b> {
    waiting: VecDeque<Job<'b>>,
    done: BTreeMap<u64, Results>,
    closed: bool,
}

/// What the threads share while one piece of entries is checked.
struct Shared<'b, 'n> {
    board: Mutex<Board<'b>>,
    /// Told when a job waits, when results come, and when all is over.
    changed: Condvar,
    origin: &'n Origin,
    path: &'n str,
}

/// Closes the board when the feeding thread leaves, however it leaves, so that no worker waits on.
struct Closing<'s, 'b, 'n>(&'s Shared<'b, 'n>);

impl Drop for Closing<'_, '_, '_> {
    fn drop(&mut self) {
        let mut board = self.0.lock();
        board.closed = true;
        board.waiting.clear();
        self.0.changed.notify_all();
    }
}

impl<'b> Shared<'b, '_> {
    fn lock(&self) -> MutexGuard<'_, Board<'b>> {
        // A panic in a worker is re-raised when the scope ends; the board itself is never half changed.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut board = self.lock();
            let job = loop {
                if let Some(job) = board.waiting.pop_front() {
                    break job;
                }
                if board.closed {
                    return;
                }
                board = self
                    .changed
                    .wait(board)
                    .unwrap_or_else(PoisonError::into_inner);
            };
            drop(board);
            self.finish(&job);
        }
    }

    fn finish(&self, job: &Job<'b>) {
        let mut results = Vec::with_capacity(job.tasks.len());
        let mut rest = job.payloads.as_slice();
        for task in &job.tasks {
            let length = usize::try_from(task.payload_bytes).unwrap_or(usize::MAX);
            // The job was read with exactly these lengths.
            let (payload, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            let result = task.check(self.origin, self.path, payload);
            let failed = result.is_err();
            results.push(result);
            if failed {
                break;
            }
        }
        self.lock().done.insert(job.number, results);
        self.changed.notify_all();
    }
}

/// Passes all entries of a log and hands each, checked, to `sink` in index order.
///
/// # Errors
/// The failure of the lowest entry, or the first that `sink` returns.
pub fn pass(
    verifier: &mut LogVerifier<'_>,
    source: &(dyn ReadAt + Sync),
    entries_path: &str,
    threads: u16,
    sink: &mut dyn FnMut(Checked) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let origin = verifier.origin().clone();
    loop {
        let (piece, at) = verifier.read_entries(source, PIECE_BYTES)?;
        if piece.is_empty() {
            return Ok(());
        }
        let shared = Shared {
            board: Mutex::default(),
            changed: Condvar::new(),
            origin: &origin,
            path: entries_path,
        };
        std::thread::scope(|scope| {
            let closing = Closing(&shared);
            for _ in 1..threads {
                scope.spawn(|| shared.work());
            }
            let result = feed(
                verifier,
                source,
                Frames::new(&piece, at),
                &shared,
                threads,
                sink,
            );
            drop(closing);
            result
        })?;
    }
}

fn feed<'b>(
    verifier: &mut LogVerifier<'_>,
    source: &dyn ReadAt,
    mut frames: Frames<'b>,
    shared: &Shared<'b, '_>,
    threads: u16,
    sink: &mut dyn FnMut(Checked) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let most_open = u64::try_from(MOST_OPEN_JOBS).unwrap_or(1) * u64::from(threads);
    let (mut given, mut taken) = (0, 0);
    let mut stopped = None;
    let mut more = true;
    loop {
        if more && given - taken < most_open {
            match job(verifier, source, &mut frames, given, shared.path) {
                (Some(job), end) => {
                    given += 1;
                    shared.lock().waiting.push_back(job);
                    shared.changed.notify_all();
                    (more, stopped) = end;
                }
                (None, end) => (more, stopped) = end,
            }
            continue;
        }
        if taken == given {
            // Everything before the entry that stopped the pass was good, or we would not be here.
            return stopped.map_or(Ok(()), Err);
        }
        let mut board = shared.lock();
        if let Some(results) = board.done.remove(&taken) {
            drop(board);
            taken += 1;
            for result in results {
                sink(result?)?;
            }
        } else if let Some(job) = board.waiting.pop_front() {
            drop(board);
            shared.finish(&job);
        } else {
            drop(
                shared
                    .changed
                    .wait(board)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}

/// The next job, if any entry is left; whether more may follow, and what ended the pass.
fn job<'b>(
    verifier: &mut LogVerifier<'_>,
    source: &dyn ReadAt,
    frames: &mut Frames<'b>,
    number: u64,
    path: &str,
) -> (Option<Job<'b>>, (bool, Option<Failure>)) {
    let mut tasks = Vec::with_capacity(JOB_ENTRIES);
    let (mut bytes, mut samples) = (0_u64, 0_u64);
    let mut end = (true, None);
    while tasks.len() < JOB_ENTRIES && bytes < JOB_BYTES && samples < JOB_SAMPLES {
        let Some((at, entry)) = frames.next() else {
            end = (false, None);
            break;
        };
        let placed = verifier.step(entry, at).and_then(|mut task| {
            verifier.place_payload(source, &mut task)?;
            Ok(task)
        });
        match placed {
            Ok(task) => {
                bytes = bytes.saturating_add(task.payload_bytes);
                samples = samples.saturating_add(task.samples);
                tasks.push(task);
            }
            Err(failure) => {
                end = (false, Some(failure));
                break;
            }
        }
    }
    if tasks.is_empty() {
        return (None, end);
    }
    if let Ok(payloads) = verifier.read_payloads(source, bytes) {
        return (
            Some(Job {
                number,
                tasks,
                payloads,
            }),
            end,
        );
    }
    // Fewer bytes are left than were signed. The entry that is short of them is named, unless its own
    // signature shows that the length was altered; what stands before it is checked as ever.
    let mut left = verifier.payload_left();
    let fits = tasks.iter().take_while(|task| {
        let fits = task.payload_bytes <= left;
        left = left.saturating_sub(task.payload_bytes);
        fits
    });
    let short = fits.count();
    let failure = tasks
        .get(short)
        .and_then(|task| task.check(verifier.origin(), path, &[]).err());
    tasks.truncate(short);
    let bytes = tasks.iter().map(|task| task.payload_bytes).sum();
    match (failure, verifier.read_payloads(source, bytes)) {
        (Some(failure), Ok(payloads)) => (
            Some(Job {
                number,
                tasks,
                payloads,
            }),
            (false, Some(failure)),
        ),
        (_, Err(failure)) => (None, (false, Some(failure))),
        (None, Ok(_)) => (None, (false, end.1)),
    }
}
