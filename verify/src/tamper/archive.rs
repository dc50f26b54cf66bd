//! A tar taken apart and put together without any of the rules that a bundle's writer keeps.

/// The unit of a tar.
const BLOCK: usize = 512;

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) path: String,
    pub(super) contents: Vec<u8>,
}

impl Member {
    /// The header as a bundle has it, and the contents with their padding.
    pub(super) fn blocks(&self) -> Vec<u8> {
        let mut bytes = header(&self.path, self.contents.len()).to_vec();
        bytes.extend(&self.contents);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

/// The files of an archive whose headers are as a bundle has them; nothing else is looked at.
pub(super) fn take_apart(bytes: &[u8]) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    let mut rest = bytes;
    loop {
        let (block, after) = rest.split_at_checked(BLOCK)?;
        if block.iter().all(|byte| *byte == 0) {
            return Some(members);
        }
        let text = |from: usize, to: usize| {
            let field = block.get(from..to)?.split(|byte| *byte == 0).next()?;
            std::str::from_utf8(field).ok()
        };
        let size = usize::from_str_radix(text(124, 136)?, 8).ok()?;
        let path = match text(345, 500)? {
            "" => text(0, 100)?.to_owned(),
            prefix => format!("{prefix}/{}", text(0, 100)?),
        };
        members.push(Member {
            path,
            contents: after.get(..size)?.to_vec(),
        });
        rest = after.get(size.next_multiple_of(BLOCK)..)?;
    }
}

/// Joins blocks of files, in any order, and ends the archive.
pub(super) fn put_together(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = blocks.concat();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

fn header(path: &str, size: usize) -> [u8; BLOCK] {
    let cut = path
        .starts_with("logs/")
        .then(|| path.match_indices('/').nth(1));
    let (prefix, name) = cut
        .flatten()
        .and_then(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)))
        .unwrap_or(("", path));
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in block.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0        0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\x000000000\0");
    put(345, prefix.as_bytes());
    summed(&mut block);
    block
}

/// Writes the checksum that fits, so that a changed header is refused for what was changed.
pub(super) fn summed(block: &mut [u8]) {
    if let Some(field) = block.get_mut(148..156) {
        field.fill(b' ');
    }
    let sum: u32 = block.iter().take(BLOCK).map(|byte| u32::from(*byte)).sum();
    for (slot, byte) in block
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").bytes())
    {
        *slot = byte;
    }
}
