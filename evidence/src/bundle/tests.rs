use super::{
    Bundle, BundleError, BundleWriter, ControlPart, Disclosure, LogParts, ReadAt as _, TarError,
};
use crate::checkpoint::{Checkpoint, sign_checkpoint};
use crate::hash::{Hash, Origin};
use crate::key::SigningKey;
use crate::merkle::CompactRange;

fn parts(name: &str) -> LogParts {
    let origin = Origin::parse(name).unwrap();
    let key = SigningKey::from_seed([1; 32]);
    let note = |size: u64| {
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size,
            root: Hash([7; 32]),
        };
        sign_checkpoint(&checkpoint, &key).to_bytes()
    };
    LogParts {
        checkpoint: note(3),
        start: CompactRange::new(),
        controls: vec![ControlPart {
            index: 0,
            entry: b"entry".to_vec(),
            proof: vec![Hash([1; 32])],
            body: Some(b"long".to_vec()),
        }],
        trail: vec![note(3), note(2), note(3)],
        entries_bytes: 2 + 5 + 2 + 600,
        payload_bytes: 512,
        disclosure: Disclosure::All,
        timestamps: vec![
            (note(3), b"a timestamp".to_vec()),
            (note(3), b"a second one over the same note".to_vec()),
            (note(9), b"one over a note that is not there".to_vec()),
        ],
        origin,
    }
}

fn bundle() -> Vec<u8> {
    let mut origins = ["example.com/gw/1", "example.com/gw/2"];
    origins.sort_by_key(|name| Origin::parse(name).unwrap().id());
    let mut writer = BundleWriter::begin(Vec::new(), b"plan", Some(b"{}")).unwrap();
    for origin in origins {
        writer.log(&parts(origin)).unwrap();
        writer.entry(b"entry").unwrap();
        writer.entry(&[9; 600]).unwrap();
        writer.payload(&[3; 100]).unwrap();
        writer.payload(&[4; 412]).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn what_is_written_is_read_and_equal_contents_are_equal_bytes() {
    let bytes = bundle();
    assert_eq!(bytes, bundle());
    let read = Bundle::read(&bytes).unwrap();
    assert_eq!(read.plan.read(&bytes, 100).unwrap(), b"plan");
    assert_eq!(read.report.unwrap().read(&bytes, 100).unwrap(), b"{}");
    assert_eq!(read.logs.len(), 2);
    let log = &read.logs[0];
    assert_eq!(log.entries.size, 609);
    assert_eq!(log.payload.read(&bytes, 1000).unwrap()[..100], [3; 100]);
    assert_eq!(
        log.trail.iter().map(|trail| trail.size).collect::<Vec<_>>(),
        [2, 3]
    );
    assert_eq!(log.controls[0].entry.read(&bytes, 10).unwrap(), b"entry");
    assert_eq!(log.blobs.len(), 1);
    assert!(log.blobs[0].1.read(&bytes, 3).is_err(), "over the limit");
}

#[test]
fn every_truncation_and_every_changed_byte_of_a_header_is_refused() {
    let bytes = bundle();
    for end in (0..bytes.len())
        .step_by(97)
        .chain(bytes.len() - 3..bytes.len())
    {
        assert!(Bundle::read(&bytes[..end].to_vec()).is_err(), "{end}");
    }
    for at in 0..512 {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Bundle::read(&changed).is_err(), "byte {at}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(
        Bundle::read(&longer),
        Err(BundleError::Trailing(_))
    ));
    longer.resize(bytes.len() + 512, 0);
    assert!(matches!(
        Bundle::read(&longer),
        Err(BundleError::Trailing(_))
    ));
}

#[test]
fn stray_bytes_in_the_padding_are_named_with_their_file() {
    let mut bytes = bundle();
    let plan = Bundle::read(&bytes).unwrap().plan;
    let at = usize::try_from(plan.offset + plan.size).unwrap();
    bytes[at] = 1;
    assert!(
        matches!(Bundle::read(&bytes), Err(BundleError::Padding { path, .. }) if path == "plan.toml")
    );
}

/// Rewrites the header of the first file and corrects its checksum.
fn with_header(change: impl FnOnce(&mut [u8])) -> Result<Bundle, BundleError> {
    let mut bytes = bundle();
    change(&mut bytes[..512]);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Bundle::read(&bytes)
}

fn name(header: &mut [u8], text: &str) {
    header[..100].fill(0);
    header[..text.len()].copy_from_slice(text.as_bytes());
}

#[test]
fn tricks_with_tar_headers_are_refused_by_name() {
    let refused = |result: Result<Bundle, BundleError>| match result.unwrap_err() {
        BundleError::Header { offset: 0, error } => error,
        other => panic!("{other}"),
    };
    assert_eq!(
        refused(with_header(|h| name(h, "../README.txt"))),
        TarError::Relative("../README.txt".into())
    );
    assert_eq!(
        refused(with_header(|h| name(h, "a/./b"))),
        TarError::Relative("a/./b".into())
    );
    assert_eq!(
        refused(with_header(|h| name(h, "/README.txt"))),
        TarError::Absolute("/README.txt".into())
    );
    assert_eq!(refused(with_header(|h| name(h, "READ ME"))), TarError::Name);
    for kind in ['1', '2', '5', 'x', 'g', 'L', '\0'] {
        let error = refused(with_header(|h| h[156] = u8::try_from(kind).unwrap()));
        assert_eq!(error, TarError::NotARegularFile(kind));
    }
    assert_eq!(refused(with_header(|h| h[124] = 0x80)), TarError::Base256);
    assert_eq!(refused(with_header(|h| h[130] = b'9')), TarError::Length);
    assert_eq!(refused(with_header(|h| h[263] = b' ')), TarError::NotUstar);
    assert_eq!(
        refused(with_header(|h| h[100] = b'1')),
        TarError::NotCanonical,
        "mode"
    );
    assert_eq!(
        refused(with_header(|h| h[110] = b'1')),
        TarError::NotCanonical,
        "owner"
    );
    assert_eq!(
        refused(with_header(|h| h[146] = b'1')),
        TarError::NotCanonical,
        "time"
    );
    assert_eq!(
        refused(with_header(|h| h[99] = b'x')),
        TarError::NotCanonical,
        "behind the name's end"
    );
    assert_eq!(
        refused(with_header(|h| h[511] = 1)),
        TarError::NotCanonical,
        "unused bytes"
    );
    assert!(matches!(
        with_header(|h| name(h, "other.txt")),
        Err(BundleError::UnknownFile(_))
    ));
    assert!(matches!(
        with_header(|h| name(h, "report/report.json")),
        Err(BundleError::Order { .. })
    ));
    assert!(matches!(
        with_header(|h| name(h, "plan.toml")),
        Err(BundleError::Duplicate(_))
    ));
}

#[test]
fn the_writer_refuses_what_was_not_announced() {
    let mut writer = BundleWriter::begin(Vec::new(), b"", None).unwrap();
    assert!(writer.entry(b"early").is_err());
    writer.log(&parts("a")).unwrap();
    assert!(writer.payload(b"x").is_err(), "entries are missing");
    assert!(writer.entry(&[0; 700]).is_err(), "too long");
    writer.entry(&[0; 607]).unwrap();
    assert!(writer.payload(&[0; 513]).is_err());
    writer.payload(&[0; 511]).unwrap();
    assert!(writer.finish().is_err(), "one byte of payload is missing");
    let empty = BundleWriter::begin(Vec::new(), b"", None).unwrap();
    assert!(matches!(empty.finish(), Err(BundleError::Empty)));
    let bytes = bundle();
    assert!(bytes.size() > 0);
}
