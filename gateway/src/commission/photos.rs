//! Photos: hashed into the sheet, kept beside the log.

use std::io;
use std::path::{Path, PathBuf};

use evidence::hash::{Hash, sha256};

use crate::durable::{self, Access};

/// The largest photo that is taken.
const MOST_BYTES: u64 = 64 << 20;

/// A photo that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// The name it came with.
    pub name: String,
    /// The SHA-256 of its bytes.
    pub sha256: Hash,
    /// Where it is kept.
    pub kept: PathBuf,
}

/// Copies photos below `data_dir/commissioning/photos`, each named after its hash, so that the same
/// photo is kept once and nothing is ever replaced by something else.
///
/// # Errors
/// A file cannot be read, is larger than 64 MiB, or cannot be kept; with its name.
pub fn keep_photos(data_dir: &Path, photos: &[PathBuf]) -> io::Result<Vec<Photo>> {
    let folder = folder(data_dir).join("photos");
    photos
        .iter()
        .map(|photo| {
            keep(photo, &folder).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("photo `{}`: {error}", photo.display()),
                )
            })
        })
        .collect()
}

/// Creates the folder of sheets and photos, if it is absent: at `init` and at every start.
///
/// # Errors
/// What the file system refused.
pub fn prepare(data_dir: &Path) -> io::Result<()> {
    durable::create_dir(&folder(data_dir))
}

/// Where sheets and photos are kept.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("commissioning")
}

fn keep(photo: &Path, folder: &Path) -> io::Result<Photo> {
    let length = std::fs::metadata(photo)?.len();
    if length > MOST_BYTES {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    let bytes = std::fs::read(photo)?;
    let sha256 = sha256(&bytes);
    let mut name = sha256.to_hex();
    let extension = photo.extension().and_then(|extension| extension.to_str());
    if let Some(extension) =
        extension.filter(|text| text.chars().all(|c| c.is_ascii_alphanumeric()))
    {
        name = format!("{name}.{}", extension.to_lowercase());
    }
    let kept = folder.join(name);
    durable::create_dir(folder)?;
    if durable::read_file(&kept)?.is_none_or(|there| there != bytes) {
        durable::write_file(&kept, &bytes, Access::All)?;
    }
    let name = photo.file_name().unwrap_or_default().to_string_lossy();
    Ok(Photo {
        name: name.chars().filter(|letter| !letter.is_control()).collect(),
        sha256,
        kept,
    })
}

#[cfg(test)]
mod tests {
    use super::keep_photos;

    #[test]
    fn a_photo_is_kept_under_its_hash_once() {
        let dir = tempfile::tempdir().unwrap();
        let photo = dir.path().join("IMG 1.JPG");
        crate::durable::write_file(&photo, b"pixels", crate::durable::Access::All).unwrap();
        let kept = keep_photos(dir.path(), &[photo.clone(), photo]).unwrap();
        assert_eq!(kept[0].name, "IMG 1.JPG");
        assert_eq!(kept[0].kept, kept[1].kept);
        // sha256sum of "pixels".
        let hash = evidence::hash::sha256(b"pixels").to_hex();
        assert!(kept[0].kept.ends_with(format!("{hash}.jpg")));
        assert_eq!(std::fs::read(&kept[0].kept).unwrap(), b"pixels");
        let missing = keep_photos(dir.path(), &[dir.path().join("no.jpg")]);
        assert!(missing.unwrap_err().to_string().contains("no.jpg"));
    }
}
