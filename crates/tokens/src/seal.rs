//! Sealed values: opaque texts that hold the primary key of what they stand for.
//!
//! Layout, then base64url without padding: version (1 byte), key id (4, big-endian), nonce (12), ciphertext and
//! tag (16). AES-256-GCM-SIV (RFC 8452), a sub-key for each [`SealKind`]; associated data are version, kind,
//! tenant and key id. So garbage, a value of another kind and one of another tenant are refused before any
//! database is asked, and a nonce that comes twice reveals no more than that two values are equal.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::{Entropy, Secret, TenantId};

/// Longest sealed text that is read. What is sealed must stay below three quarters of it.
pub const SEALED_BYTES_MAX: usize = 8 * 1024;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + 4 + NONCE_LEN;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal,)*) => {
        /// What a sealed value stands for. A value of one kind never opens as another.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SealKind { $($(#[$doc])* $name,)* }

        impl SealKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name from which the sub-key is derived. A changed name makes every old value unreadable.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The byte in the associated data.
            const fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

kinds! {
    /// The session cookie of the login pages.
    SessionCookie = 1 "session-cookie",
    /// A refresh token.
    RefreshToken = 2 "refresh-token",
    /// An authorization code with all it is bound to.
    AuthorizationCode = 3 "authorization-code",
    /// An access token without an audience.
    AccessToken = 4 "access-token",
    /// A pending login: the state in the page.
    LoginState = 5 "login-state",
    /// A form's protection against forgery, and the transaction cookie it is compared with.
    Csrf = 6 "csrf",
    /// A link in an e-mail, a set-up link.
    Ticket = 7 "ticket",
    /// A client's secret at rest.
    ClientSecret = 8 "client-secret",
    /// An API's `signing_secret` at rest.
    SigningSecret = 9 "signing-secret",
    /// A private key at rest.
    SigningKey = 10 "signing-key",
    /// What a logout carries through its confirmation page.
    LogoutState = 11 "logout-state",
    /// Where a list of the Management API goes on.
    Cursor = 12 "cursor",
    /// What opens the live line of one session.
    LiveTicket = 13 "live-ticket",
    /// What an event stream signs or authenticates itself with, at rest.
    EventStreamSecret = 14 "event-stream-secret",
    /// What a receiver of security events wants to find in `Authorization`, at rest.
    ReceiverAuthorization = 18 "receiver-authorization",
    /// A secret of an Action, at rest.
    ActionSecret = 19 "action-secret",
}

/// Why a text is not a sealed value. Outside, all three look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Too long, too short, not canonical base64url, an unknown version.
    #[error("malformed")]
    Malformed,
    /// Sealed under a key that is not held here: it retired, was revoked, or is too new for this node.
    #[error("unknown sealing key")]
    UnknownKey,
    /// Not sealed by the key it names, or for another kind or tenant.
    #[error("forged")]
    Forged,
}

/// What a sealed value held.
#[derive(Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// The plaintext.
    pub plaintext: Vec<u8>,
    /// The key that sealed it.
    pub key_id: u32,
}

impl fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsealed").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

struct KeyLen;

impl hkdf::KeyType for KeyLen {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-SHA256 (RFC 5869) of a key of 32 random bytes.
#[expect(clippy::expect_used, reason = "32 bytes are within HKDF's limit")]
fn derive_bytes(key: &[u8; 32], salt: &[u8], info: &str) -> [u8; 32] {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    let mut bytes = [0; 32];
    let info = [info.as_bytes()];
    prk.expand(&info, KeyLen).and_then(|okm| okm.fill(&mut bytes)).expect("HKDF gives 32 bytes");
    bytes
}

/// The same as a key that seals.
#[expect(clippy::expect_used, reason = "32 bytes are the length of an AES-256 key")]
fn derive(key: &[u8; 32], salt: &[u8], info: &str) -> LessSafeKey {
    let bytes = derive_bytes(key, salt, info);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &bytes).expect("32 bytes are an AES-256 key"))
}

/// One sealing key with the sub-keys of every kind, derived once.
pub struct SealingKey {
    id: u32,
    sub_keys: Vec<LessSafeKey>,
}

impl SealingKey {
    /// Derives the sub-keys. `bytes` are 32 random bytes.
    pub fn new(id: u32, bytes: &[u8; 32]) -> Self {
        let sub_keys =
            SealKind::ALL.iter().map(|kind| derive(bytes, b"curfew sealing key v1", kind.as_str())).collect();
        Self { id, sub_keys }
    }

    /// The id that stands in every value it sealed.
    pub fn id(&self) -> u32 {
        self.id
    }

    fn sub_key(&self, kind: SealKind) -> &LessSafeKey {
        // One for each kind, in the order of their declaration.
        &self.sub_keys[kind as usize]
    }

    fn associated_data(&self, kind: SealKind, tenant: TenantId) -> Aad<[u8; 14]> {
        let mut bytes = [0; 14];
        bytes[0] = VERSION;
        bytes[1] = kind.code();
        bytes[2..10].copy_from_slice(&tenant.0.to_be_bytes());
        bytes[10..].copy_from_slice(&self.id.to_be_bytes());
        Aad::from(bytes)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The sealing keys a node holds: the one that seals, and those that still open.
#[derive(Debug, Clone)]
pub struct SealingKeys {
    current: Arc<SealingKey>,
    others: Vec<Arc<SealingKey>>,
}

impl SealingKeys {
    /// `current` seals; all open. Ids must differ.
    pub fn new(current: Arc<SealingKey>, others: Vec<Arc<SealingKey>>) -> Self {
        Self { current, others }
    }

    /// The key that seals.
    pub fn current(&self) -> &SealingKey {
        &self.current
    }

    /// The key with this id.
    pub fn find(&self, id: u32) -> Option<&SealingKey> {
        std::iter::once(&self.current).chain(&self.others).find(|key| key.id == id).map(Arc::as_ref)
    }

    /// Seals `plaintext` under the current key. Its length is 4/3 of the plaintext's plus 44 characters; what
    /// comes out longer than [`SEALED_BYTES_MAX`] cannot be opened again.
    #[expect(clippy::expect_used, reason = "AES-GCM-SIV refuses only plaintexts beyond 64 GiB")]
    pub fn seal(&self, kind: SealKind, tenant: TenantId, plaintext: &[u8], entropy: &dyn Entropy) -> String {
        let key = &self.current;
        let nonce = entropy.bytes::<NONCE_LEN>();
        let mut bytes = Vec::with_capacity(HEAD_LEN + plaintext.len() + TAG_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&key.id.to_be_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plaintext);
        let tag = key
            .sub_key(kind)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                key.associated_data(kind, tenant),
                &mut bytes[HEAD_LEN..],
            )
            .expect("a plaintext below 64 GiB is sealed");
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a text that [`SealingKeys::seal`] made for the same kind and tenant under a key held here.
    pub fn unseal(&self, kind: SealKind, tenant: TenantId, text: &str) -> Result<Unsealed, UnsealError> {
        if text.len() > SEALED_BYTES_MAX {
            return Err(UnsealError::Malformed);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| UnsealError::Malformed)?;
        let (&[version, a, b, c, d], rest) = bytes.split_first_chunk::<5>().ok_or(UnsealError::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Malformed)?;
        if version != VERSION || sealed.len() < TAG_LEN {
            return Err(UnsealError::Malformed);
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let key = self.find(u32::from_be_bytes([a, b, c, d])).ok_or(UnsealError::UnknownKey)?;
        let length = key
            .sub_key(kind)
            .open_within(nonce, key.associated_data(kind, tenant), &mut bytes, HEAD_LEN..)
            .map_err(|_| UnsealError::Forged)?
            .len();
        bytes.truncate(length);
        Ok(Unsealed { plaintext: bytes, key_id: key.id })
    }
}

/// The key that is not in the database and under which the keys in it rest.
pub struct KeyEncryptionKey {
    key: LessSafeKey,
    mac: hmac::Key,
}

impl KeyEncryptionKey {
    /// `bytes` are 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let key = derive(&bytes, b"curfew key-encryption key v1", "wrap");
        let mac = derive_bytes(&bytes, b"curfew key-encryption key v1", "mac");
        Self { key, mac: hmac::Key::new(hmac::HMAC_SHA256, &mac) }
    }

    /// HMAC-SHA256 over what rests in the database under a label and must come from nobody else.
    pub fn mac(&self, label: &str, bytes: &[u8]) -> [u8; 32] {
        let mut mac = [0; 32];
        let tag = self.context(label, bytes).sign();
        // HMAC-SHA256 has 32 bytes.
        mac.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        mac
    }

    /// Whether [`KeyEncryptionKey::mac`] made a MAC; in constant time.
    pub fn verify_mac(&self, label: &str, bytes: &[u8], mac: &[u8]) -> bool {
        curfew_model::secret::constant_time_eq(&self.mac(label, bytes), mac)
    }

    fn context(&self, label: &str, bytes: &[u8]) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.mac);
        // The length keeps label and bytes apart.
        context.update(&u64::try_from(label.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(label.as_bytes());
        context.update(bytes);
        context
    }

    /// Wraps key material for the row that `label` names (`signing_keys/1/KID`): version, nonce, ciphertext and
    /// tag. It opens only under the same label, so that rows cannot be exchanged.
    #[expect(clippy::expect_used, reason = "AES-GCM-SIV refuses only plaintexts beyond 64 GiB")]
    pub fn wrap(&self, label: &str, secret: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let nonce = entropy.bytes::<NONCE_LEN>();
        let mut bytes = Vec::with_capacity(1 + NONCE_LEN + secret.len() + TAG_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(secret);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(label.as_bytes()),
                &mut bytes[1 + NONCE_LEN..],
            )
            .expect("a plaintext below 64 GiB is sealed");
        bytes.extend_from_slice(tag.as_ref());
        bytes
    }

    /// Unwraps what [`KeyEncryptionKey::wrap`] made. [`UnsealError::Forged`] is also another key-encryption key.
    pub fn unwrap(&self, label: &str, wrapped: &[u8]) -> Result<Secret<Vec<u8>>, UnsealError> {
        let (&[version], rest) = wrapped.split_first_chunk::<1>().ok_or(UnsealError::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Malformed)?;
        if version != VERSION || sealed.len() < TAG_LEN {
            return Err(UnsealError::Malformed);
        }
        let mut bytes = sealed.to_vec();
        let length = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(label.as_bytes()), &mut bytes)
            .map_err(|_| UnsealError::Forged)?
            .len();
        bytes.truncate(length);
        Ok(Secret::new(bytes))
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use curfew_model::SystemEntropy;

    use super::*;

    fn keys(current: u32, others: &[u32]) -> SealingKeys {
        let key = |id: u32| Arc::new(SealingKey::new(id, &[u8::try_from(id).unwrap(); 32]));
        SealingKeys::new(key(current), others.iter().map(|id| key(*id)).collect())
    }

    #[test]
    fn opens_only_for_its_kind_and_tenant() {
        let keys = keys(1, &[]);
        let plaintext = b"what it stands for";
        for kind in SealKind::ALL {
            let text = keys.seal(*kind, TenantId(7), plaintext, &SystemEntropy);
            let unsealed = keys.unseal(*kind, TenantId(7), &text).unwrap();
            assert_eq!((unsealed.plaintext.as_slice(), unsealed.key_id), (&plaintext[..], 1));
            assert_eq!(keys.unseal(*kind, TenantId(8), &text), Err(UnsealError::Forged));
            for other in SealKind::ALL.iter().filter(|other| *other != kind) {
                assert_eq!(keys.unseal(*other, TenantId(7), &text), Err(UnsealError::Forged));
            }
        }
    }

    #[test]
    fn kinds_have_names_and_codes_of_their_own() {
        for (index, kind) in SealKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
            for other in &SealKind::ALL[index + 1..] {
                assert_ne!(kind.as_str(), other.as_str());
                assert_ne!(kind.code(), other.code());
            }
        }
    }

    #[test]
    fn older_keys_open_and_revoked_ones_do_not() {
        let text = keys(1, &[]).seal(SealKind::Ticket, TenantId(1), b"", &SystemEntropy);
        let rotated = keys(2, &[1]);
        assert_eq!(rotated.unseal(SealKind::Ticket, TenantId(1), &text).unwrap().key_id, 1);
        assert_eq!(rotated.current().id(), 2);
        let next = rotated.seal(SealKind::Ticket, TenantId(1), b"", &SystemEntropy);
        assert_eq!(rotated.unseal(SealKind::Ticket, TenantId(1), &next).unwrap().key_id, 2);
        assert_eq!(keys(2, &[]).unseal(SealKind::Ticket, TenantId(1), &text), Err(UnsealError::UnknownKey));
        // Another key under the same id.
        let impostor = SealingKeys::new(Arc::new(SealingKey::new(1, &[9; 32])), Vec::new());
        assert_eq!(impostor.unseal(SealKind::Ticket, TenantId(1), &text), Err(UnsealError::Forged));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let keys = keys(1, &[]);
        let text = keys.seal(SealKind::RefreshToken, TenantId(1), b"value", &SystemEntropy);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for position in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[position / 8] ^= 1 << (position % 8);
            let expected = match position / 8 {
                0 => UnsealError::Malformed,
                1..5 => UnsealError::UnknownKey,
                _ => UnsealError::Forged,
            };
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(
                keys.unseal(SealKind::RefreshToken, TenantId(1), &changed),
                Err(expected),
                "{position}"
            );
        }
    }

    #[test]
    fn a_value_has_one_spelling() {
        let keys = keys(1, &[]);
        let open = |text: &str| keys.unseal(SealKind::Csrf, TenantId(1), text);
        // 33 bytes of frame and one of content: 34 bytes leave two unused bits in the last character.
        let text = keys.seal(SealKind::Csrf, TenantId(1), b"x", &SystemEntropy);
        assert_eq!(text.len(), 46);
        assert!(open(&text).is_ok());
        let (body, last) = text.split_at(text.len() - 1);
        let next = char::from(last.as_bytes()[0] + 1);
        for other in [
            format!("{body}{next}"),
            format!("{text}=="),
            format!("{text}\n"),
            format!(" {text}"),
            body.to_owned(),
        ] {
            assert_eq!(open(&other), Err(UnsealError::Malformed), "{other}");
        }
        for length in 0..45 {
            assert!(open(&text[..length]).is_err());
        }
        assert_eq!(open(&"A".repeat(SEALED_BYTES_MAX + 1)), Err(UnsealError::Malformed));
        assert_eq!(open("é"), Err(UnsealError::Malformed));
    }

    #[test]
    fn the_longest_value_opens() {
        let keys = keys(1, &[]);
        let plaintext = vec![5; SEALED_BYTES_MAX / 4 * 3 - HEAD_LEN - TAG_LEN];
        let text = keys.seal(SealKind::AuthorizationCode, TenantId(1), &plaintext, &SystemEntropy);
        assert_eq!(text.len(), SEALED_BYTES_MAX);
        assert_eq!(
            keys.unseal(SealKind::AuthorizationCode, TenantId(1), &text).unwrap().plaintext,
            plaintext
        );
    }

    /// The derivation and the layout are for ever: this value was sealed by the first version.
    #[test]
    fn the_layout_stays() {
        #[derive(Debug)]
        struct Sevens;
        impl Entropy for Sevens {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(7);
            }
        }
        let keys = keys(1, &[]);
        let text = keys.seal(SealKind::SessionCookie, TenantId(1), b"first", &Sevens);
        assert_eq!(text, FIRST);
        assert_eq!(keys.unseal(SealKind::SessionCookie, TenantId(1), FIRST).unwrap().plaintext, b"first");
        let wrapped = KeyEncryptionKey::from_bytes([1; 32]).wrap("label", b"first", &Sevens);
        assert_eq!(URL_SAFE_NO_PAD.encode(wrapped), FIRST_WRAPPED);
    }

    const FIRST: &str = "AQAAAAEHBwcHBwcHBwcHBwdzOzfFYdtEJR0yDe8ZSGzXXATseXo";
    const FIRST_WRAPPED: &str = "AQcHBwcHBwcHBwcHB9AKl3Zg8DBurKkcDdq0Tgf8bCM5kw";

    #[test]
    fn keys_rest_under_their_label_only() {
        let kek = KeyEncryptionKey::from_bytes([4; 32]);
        let wrapped = kek.wrap("signing_keys/1/a", b"private", &SystemEntropy);
        assert_eq!(kek.unwrap("signing_keys/1/a", &wrapped).unwrap().expose(), b"private");
        assert_eq!(kek.unwrap("signing_keys/1/b", &wrapped), Err(UnsealError::Forged));
        let other = KeyEncryptionKey::from_bytes([5; 32]);
        assert_eq!(other.unwrap("signing_keys/1/a", &wrapped), Err(UnsealError::Forged));
        for length in 0..29 {
            assert_eq!(kek.unwrap("signing_keys/1/a", &wrapped[..length]), Err(UnsealError::Malformed));
        }
        for position in 1..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[position] ^= 0x80;
            assert_eq!(kek.unwrap("signing_keys/1/a", &changed), Err(UnsealError::Forged));
        }
    }

    #[test]
    fn nothing_secret_prints() {
        let keys = keys(1, &[]);
        let text = keys.seal(SealKind::Csrf, TenantId(1), b"secret", &SystemEntropy);
        let unsealed = keys.unseal(SealKind::Csrf, TenantId(1), &text).unwrap();
        let kek = KeyEncryptionKey::from_bytes([4; 32]);
        assert_eq!(
            format!("{keys:?} {unsealed:?} {kek:?}"),
            "SealingKeys { current: SealingKey { id: 1, .. }, others: [] } Unsealed { key_id: 1, .. } KeyEncryptionKey(…)"
        );
    }
}
