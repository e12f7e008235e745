//! A package's tarball: checked against what the registry says, and unpacked in memory. Nothing of it is ever run.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA512, SHA512_OUTPUT_LEN, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use curfew_model::secret::constant_time_eq;
use flate2::read::MultiGzDecoder;
use tar::EntryType;

use crate::limits::{
    ENTRIES_MAX, FILE_BYTES_MAX, HEADER_BYTES_MAX, PATH_BYTES_MAX, SET_BYTES_MAX, UNPACKED_BYTES_FREE,
    UNPACKED_BYTES_MAX, UNPACKED_RATIO_MAX,
};
use crate::manifest::PackageJson;
use crate::source::{Keep, text_of};

/// Why a tarball is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarballError {
    /// There is no SHA-512 to check it with. A SHA-1 is none: anybody can make another file that has it.
    #[error("the registry gives no sha512 checksum")]
    NoChecksum,
    /// It is not what the registry says it is.
    #[error("the checksum is wrong")]
    Checksum,
    /// It is no tar compressed with gzip.
    #[error("not a tarball: {0}")]
    Malformed(String),
    /// Something in it would lie elsewhere than in its folder, or is a link or a device.
    #[error("'{0}' has no place in a package")]
    Entry(String),
    /// It is larger than a package may be.
    #[error("larger than a package may be: {0}")]
    TooLarge(&'static str),
    /// It has no `package.json`, or one that is none.
    #[error("no usable package.json")]
    PackageJson,
}

/// What is kept of a package: by path in it, the text of what can be required, or `None` for machine code.
pub(crate) type Files = BTreeMap<String, Option<Arc<str>>>;

/// Checks a tarball against its `integrity` (Subresource Integrity: `sha512-` and base64, perhaps several with a blank between).
pub(crate) fn verify(bytes: &[u8], integrity: &str) -> Result<String, TarballError> {
    let stated: Vec<Vec<u8>> = integrity
        .split_ascii_whitespace()
        .filter_map(|part| part.strip_prefix("sha512-"))
        .map(|part| part.split('?').next().unwrap_or(part))
        .filter_map(|part| BASE64_STANDARD.decode(part).ok())
        .filter(|stated| stated.len() == SHA512_OUTPUT_LEN)
        .collect();
    if stated.is_empty() {
        return Err(TarballError::NoChecksum);
    }
    let found = digest(&SHA512, bytes);
    if stated.iter().any(|stated| constant_time_eq(stated, found.as_ref())) {
        Ok(format!("sha512-{}", BASE64_STANDARD.encode(found.as_ref())))
    } else {
        Err(TarballError::Checksum)
    }
}

/// What is said when a limit on the unpacked bytes is met; it comes back out of the readers around it.
const TOO_MUCH: &str = "curfew: too much";

/// Reads no more than it may.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(TOO_MUCH))?;
        Ok(read)
    }
}

fn malformed(error: &io::Error) -> TarballError {
    let text = error.to_string();
    if text.contains(TOO_MUCH) {
        TarballError::TooLarge("its content")
    } else {
        TarballError::Malformed(text)
    }
}

/// What may come out of a tarball of so many bytes.
fn unpacked_bytes_max(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(UNPACKED_RATIO_MAX).clamp(UNPACKED_BYTES_FREE, UNPACKED_BYTES_MAX)
}

fn archive(bytes: &[u8]) -> tar::Archive<Limited<MultiGzDecoder<&[u8]>>> {
    let left = unpacked_bytes_max(bytes.len());
    tar::Archive::new(Limited { inner: MultiGzDecoder::new(bytes), left })
}

/// Looks at the headers alone. What an entry says about the next one is read as a whole, however long it is.
fn look_through(bytes: &[u8]) -> Result<(), TarballError> {
    let mut archive = archive(bytes);
    let entries = archive.entries().map_err(|error| malformed(&error))?.raw(true);
    for (count, entry) in entries.enumerate() {
        let entry = entry.map_err(|error| malformed(&error))?;
        if count >= ENTRIES_MAX {
            return Err(TarballError::TooLarge("the number of its files"));
        }
        let kind = entry.header().entry_type();
        let is_header = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if is_header && entry.size() > HEADER_BYTES_MAX {
            return Err(TarballError::TooLarge("a header in it"));
        }
    }
    Ok(())
}

/// Unpacks a tarball. Its first folder, whatever its name, is the package.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Files, TarballError> {
    look_through(bytes)?;
    let mut archive = archive(bytes);
    let mut files = Files::new();
    let mut kept = 0;
    for entry in archive.entries().map_err(|error| malformed(&error))? {
        let mut entry = entry.map_err(|error| malformed(&error))?;
        let path = entry.path_bytes();
        let path = String::from_utf8_lossy(&path).into_owned();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            _ => return Err(refused(&path)),
        }
        let Some(path) = inside(&path)? else { continue };
        let name = path.rsplit('/').next().unwrap_or(&path);
        match Keep::of(name) {
            Keep::Nothing => {}
            Keep::Name => drop(files.insert(path, None)),
            Keep::Text => {
                let mut text = Vec::new();
                (&mut entry)
                    .take(FILE_BYTES_MAX as u64 + 1)
                    .read_to_end(&mut text)
                    .map_err(|error| malformed(&error))?;
                if text.len() > FILE_BYTES_MAX {
                    return Err(TarballError::TooLarge("a file in it"));
                }
                kept += text.len();
                if kept > SET_BYTES_MAX {
                    return Err(TarballError::TooLarge("its content"));
                }
                files.insert(path, Some(text_of(&text)));
            }
        }
    }
    match files.get("package.json") {
        Some(Some(text)) if PackageJson::parse(text).is_some() => Ok(files),
        _ => Err(TarballError::PackageJson),
    }
}

fn refused(path: &str) -> TarballError {
    TarballError::Entry(path.chars().take(100).collect())
}

/// The path in the package; `None` for what belongs to another package that it brings along, which is had from the registry instead.
fn inside(path: &str) -> Result<Option<String>, TarballError> {
    if path.len() > PATH_BYTES_MAX || path.starts_with('/') || path.contains(['\\', '\0']) {
        return Err(refused(path));
    }
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err(refused(path)),
            segment => segments.push(segment),
        }
    }
    let Some((_, segments)) = segments.split_first() else { return Err(refused(path)) };
    if segments.is_empty() || segments.contains(&"node_modules") {
        return Ok(None);
    }
    Ok(Some(segments.join("/")))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A header with any path, also one that the crate would not write.
    fn header(path: &str, kind: EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            builder.append(&header(path, EntryType::Regular, bytes.len() as u64), *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    pub(crate) fn integrity(bytes: &[u8]) -> String {
        format!("sha512-{}", BASE64_STANDARD.encode(digest(&SHA512, bytes)))
    }

    const JSON: (&str, &[u8]) = ("package/package.json", b"{}");

    #[test]
    fn what_can_be_required_is_kept() {
        let tarball = gzip(&tar(&[
            JSON,
            ("package/a.js", b"\xef\xbb\xbfa"),
            ("package/./lib//b.mjs", b"b"),
            ("package/README.md", b"x"),
            ("package/build/a.node", b"\x7fELF"),
            ("package/node_modules/c/index.js", b"c"),
        ]));
        let files = unpack(&tarball).unwrap();
        let files: Vec<_> = files.iter().map(|(path, text)| (&**path, text.as_deref())).collect();
        assert_eq!(
            files,
            [
                ("a.js", Some("a")),
                ("build/a.node", None),
                ("lib/b.mjs", Some("b")),
                ("package.json", Some("{}"))
            ]
        );
        // Any first folder will do.
        assert!(unpack(&gzip(&tar(&[("lodash/package.json", b"{}")]))).is_ok());
    }

    #[test]
    fn long_names_are_read() {
        let long = format!("package/{}/x.js", "d".repeat(200));
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header(JSON.0, EntryType::Regular, 2), JSON.1).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
        let files = unpack(&gzip(&builder.into_inner().unwrap())).unwrap();
        assert!(files.contains_key(long.strip_prefix("package/").unwrap()));
    }

    #[test]
    fn nothing_leaves_its_folder() {
        for path in
            ["../a.js", "package/../../a.js", "package/a/../b.js", "/a.js", "package\\..\\a.js", ".", ""]
        {
            let error = unpack(&gzip(&tar(&[JSON, (path, b"x")]))).unwrap_err();
            assert!(matches!(error, TarballError::Entry(_)), "{path}: {error}");
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Block, EntryType::Fifo]
        {
            let mut builder = tar::Builder::new(Vec::new());
            builder.append(&header(JSON.0, EntryType::Regular, 2), JSON.1).unwrap();
            let mut link = header("package/x.js", kind, 0);
            link.set_link_name("a.js").unwrap();
            link.set_cksum();
            builder.append(&link, io::empty()).unwrap();
            let error = unpack(&gzip(&builder.into_inner().unwrap())).unwrap_err();
            assert!(matches!(error, TarballError::Entry(_)), "{kind:?}: {error}");
        }
    }

    #[test]
    fn a_tarball_has_limits() {
        // Many times its size.
        let zeros = vec![0; 4 << 20];
        let bomb = gzip(&tar(&[JSON, ("package/zeros.bin", &zeros)]));
        assert_eq!(unpack(&bomb), Err(TarballError::TooLarge("its content")));
        // A file that is too large.
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..=FILE_BYTES_MAX)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8 & 0x7f
            })
            .collect();
        let large = gzip(&tar(&[JSON, ("package/noise.js", &noise)]));
        assert_eq!(unpack(&large), Err(TarballError::TooLarge("a file in it")));
        let fits = gzip(&tar(&[JSON, ("package/noise.js", &noise[1..])]));
        assert!(unpack(&fits).is_ok());
        // What stands for a name, and is none.
        for kind in
            [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader]
        {
            let long = |bytes: u64| {
                let mut builder = tar::Builder::new(Vec::new());
                builder.append(&header(JSON.0, EntryType::Regular, 2), JSON.1).unwrap();
                builder.append(&header("long", kind, bytes), io::repeat(b'a').take(bytes)).unwrap();
                builder.append(&header("package/a.js", EntryType::Regular, 0), io::empty()).unwrap();
                unpack(&gzip(&builder.into_inner().unwrap()))
            };
            assert_eq!(long(HEADER_BYTES_MAX + 1), Err(TarballError::TooLarge("a header in it")), "{kind:?}");
            assert_ne!(long(HEADER_BYTES_MAX), Err(TarballError::TooLarge("a header in it")), "{kind:?}");
        }
        // Too many, of which none is anything. The noise is what the ratio asks for.
        let many = |count: usize| {
            let mut builder = tar::Builder::new(Vec::new());
            builder.append(&header(JSON.0, EntryType::Regular, 2), JSON.1).unwrap();
            builder.append(&header("package/noise", EntryType::Regular, 1 << 20), &noise[..1 << 20]).unwrap();
            for _ in 2..count {
                builder.append(&header("package/lib/", EntryType::Directory, 0), io::empty()).unwrap();
            }
            unpack(&gzip(&builder.into_inner().unwrap())).map(drop)
        };
        assert_eq!(many(ENTRIES_MAX), Ok(()));
        assert_eq!(many(ENTRIES_MAX + 1), Err(TarballError::TooLarge("the number of its files")));
        // All its texts together; each fits.
        let blank = vec![b' '; FILE_BYTES_MAX];
        let names: Vec<_> = (0..9).map(|number| format!("package/{number}.js")).collect();
        let mut all = vec![JSON, ("package/noise", &noise[1..])];
        all.extend(names.iter().map(|name| (&**name, &*blank)));
        assert_eq!(unpack(&gzip(&tar(&all))), Err(TarballError::TooLarge("its content")));
        all.truncate(9);
        assert!(unpack(&gzip(&tar(&all))).is_ok());
        for (bytes, most) in [
            (0, UNPACKED_BYTES_FREE),
            (20_000, 2_000_000),
            (3 << 20, UNPACKED_BYTES_MAX),
            (usize::MAX, UNPACKED_BYTES_MAX),
        ] {
            assert_eq!(unpacked_bytes_max(bytes), most);
        }
        let long = "d".repeat(90);
        let path = format!("package/{long}.js");
        assert!(unpack(&gzip(&tar(&[JSON, (&path, b"")]))).is_ok());
        assert!(inside(&format!("package/{}", "d".repeat(PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn what_is_no_tarball_is_refused() {
        let whole = gzip(&tar(&[JSON, ("package/a.js", b"a")]));
        for (bytes, why) in [
            (&b""[..], "nothing"),
            (b"PK\x03\x04", "something else"),
            (&whole[..whole.len() / 2], "half of it"),
            (&gzip(b"not a tar, and long enough to be looked at"), "no tar"),
        ] {
            assert!(unpack(bytes).is_err(), "{why}");
        }
        for files in [
            &[("package/a.js", &b""[..])][..],
            &[("package/package.json", b"[")],
            &[("package/package.json", b"[]")],
        ] {
            assert_eq!(unpack(&gzip(&tar(files))), Err(TarballError::PackageJson));
        }
    }

    #[test]
    fn checksums_are_sha512() {
        let sha512 = integrity(b"x");
        assert_eq!(verify(b"x", &sha512), Ok(sha512.clone()));
        assert_eq!(verify(b"x", &format!("sha1-EfZ5ks sha512-AAAA {sha512}?x")), Ok(sha512.clone()));
        assert_eq!(verify(b"y", &sha512), Err(TarballError::Checksum));
        // All of it counts.
        for at in [0, 31, SHA512_OUTPUT_LEN - 1] {
            let mut other = digest(&SHA512, b"x").as_ref().to_vec();
            other[at] ^= 1;
            let other = format!("sha512-{}", BASE64_STANDARD.encode(other));
            assert_eq!(verify(b"x", &other), Err(TarballError::Checksum), "{at}");
        }
        for weak in ["", "sha1-EfZ5ksZnZ9lkOsnVNZ0=", "sha512-", "sha512-AAAA", "sha512-é", "sha384-x"] {
            assert_eq!(verify(b"x", weak), Err(TarballError::NoChecksum), "{weak}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), flips in prop::collection::vec((0..3000_usize, any::<u8>()), 0..8)) {
            let _ = unpack(&bytes);
            let _ = unpack(&gzip(&bytes));
            let mut changed = tar(&[JSON, ("package/a.js", b"text"), ("package/b/c.json", b"{}")]);
            for (at, byte) in flips {
                let at = at % changed.len();
                changed[at] = byte;
            }
            if let Ok(files) = unpack(&gzip(&changed)) {
                for path in files.keys() {
                    prop_assert!(!path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != ".."));
                }
            }
        }
    }
}
