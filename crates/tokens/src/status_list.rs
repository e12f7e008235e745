//! Token Status Lists (draft-ietf-oauth-status-list): one bit for each index, compressed, in a signed token.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::Failure;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;

/// The header's `typ` (§5.1).
pub const TYP: &str = "statuslist+jwt";

/// The statuses of as many tokens as it has indexes: 0x00 VALID, 0x01 INVALID (§7.1).
#[derive(Debug, Clone)]
pub struct Statuses(Vec<u8>);

impl Statuses {
    /// All valid. `size` is a multiple of eight.
    pub fn new(size: u32) -> Self {
        Self(vec![0; size.div_ceil(8) as usize])
    }

    /// Says of a token that it is not valid. An index beyond the list is not in it.
    pub fn invalidate(&mut self, index: u32) {
        // §4.1: packed into bytes from the least significant bit.
        if let Some(byte) = self.0.get_mut((index / 8) as usize) {
            *byte |= 1 << (index % 8);
        }
    }

    /// `lst` (§4.2): in zlib's format, as base64url.
    pub fn lst(&self) -> Result<String, Failure> {
        let compress = || {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
            zlib.write_all(&self.0)?;
            zlib.finish()
        };
        let bytes = compress().map_err(|error: std::io::Error| {
            Failure::Internal(format!("a status list does not compress: {error}").into())
        })?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// `status_list` of a Status List Token (§4.2).
#[derive(Debug, Serialize)]
pub struct StatusList<'a> {
    /// Bits for each status.
    pub bits: u8,
    /// [`Statuses::lst`].
    pub lst: &'a str,
    /// Where the addresses of all lists are.
    pub aggregation_uri: &'a str,
}

/// The claims of a Status List Token (§5.1).
#[derive(Debug, Serialize)]
pub struct StatusListClaims<'a> {
    /// The issuer, with the trailing slash.
    pub iss: &'a str,
    /// The list's own address.
    pub sub: &'a str,
    /// Since when it is known, Unix seconds.
    pub iat: i64,
    /// Until when it may be relied upon, Unix seconds.
    pub exp: i64,
    /// After how many seconds there may be a newer one.
    pub ttl: i64,
    /// The list.
    pub status_list: StatusList<'a>,
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::ZlibDecoder;
    use proptest::collection::btree_set;
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    fn unpacked(lst: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        ZlibDecoder::new(&URL_SAFE_NO_PAD.decode(lst).unwrap()[..]).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn of(size: u32, invalid: &[u32]) -> Statuses {
        let mut statuses = Statuses::new(size);
        invalid.iter().for_each(|index| statuses.invalidate(*index));
        statuses
    }

    #[test]
    fn sixteen_statuses_are_those_of_the_specification() {
        // §4.1 and §4.2: status[0] = 1, status[1] = 0, …
        let statuses = of(16, &[0, 3, 4, 5, 7, 8, 9, 13, 15]);
        assert_eq!(statuses.0, [0xb9, 0xa3]);
        assert_eq!(unpacked("eNrbuRgAAhcBXQ"), statuses.0);
        assert_eq!(statuses.lst().unwrap(), "eNrbuRgAAhcBXQ");
    }

    #[test]
    fn a_million_statuses_are_those_of_the_specification() {
        // Appendix "Test vectors for Status List encoding", 1 bit.
        let lst = "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAA\
            AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAA\
            AAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAAKjDMAQAAAACAZC8L2AEb";
        let invalid =
            [0, 1993, 25_460, 159_495, 495_669, 554_353, 645_645, 723_232, 854_545, 934_534, 1_000_345];
        let statuses = of(1 << 20, &invalid);
        assert_eq!(unpacked(lst), statuses.0);
        assert_eq!(unpacked(&statuses.lst().unwrap()), statuses.0);
    }

    proptest! {
        #[test]
        fn what_is_invalid_is_read_back(invalid in btree_set(0_u32..2000, 0..300)) {
            let bytes = unpacked(&of(1 << 10, &invalid.iter().copied().collect::<Vec<_>>()).lst().unwrap());
            prop_assert_eq!(bytes.len(), 128);
            for index in 0_u32..1024 {
                let bit = bytes[(index / 8) as usize] >> (index % 8) & 1;
                prop_assert_eq!(bit == 1, invalid.contains(&index));
            }
        }
    }
}
