//! A bundle on disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;
use evidence::bundle::ReadAt;

/// An open file of known length.
#[derive(Debug)]
pub struct BundleFile {
    file: File,
    size: u64,
}

impl BundleFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// A path that is no readable regular file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("cannot open the bundle {shown}"))?;
        let meta = file
            .metadata()
            .with_context(|| format!("cannot look at the bundle {shown}"))?;
        anyhow::ensure!(
            meta.is_file(),
            "the bundle {shown} is not a file; name a .tar file"
        );
        Ok(Self {
            file,
            size: meta.len(),
        })
    }

    /// The SHA-256 of the whole file in hexadecimal.
    ///
    /// # Errors
    /// Those of reading.
    pub fn sha256(&self) -> std::io::Result<String> {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.size {
            let length = usize::try_from(self.size - at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let piece = buffer.get_mut(..length).unwrap_or_default();
            self.file.read_exact_at(piece, at)?;
            context.update(piece);
            at += u64::try_from(length).unwrap_or(u64::MAX);
        }
        Ok(hex::encode(context.finish()))
    }
}

impl ReadAt for BundleFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}
