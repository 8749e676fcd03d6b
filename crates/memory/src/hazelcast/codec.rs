//! The messages this client uses. Offsets and orders are those of the protocol definition; the tests compare them
//! byte by byte with Hazelcast's own compatibility files.

use super::frame::{
    BEGIN, Cursor, END, HEADER, IS_FINAL, IS_NULL, Message, ProtocolError, UNFRAGMENTED, UUID_BYTES, Uuid,
    broken, i32_at, u8_at, uuid_at,
};

/// First bytes on a connection.
pub(crate) const PREAMBLE: &[u8] = b"CP2";
/// Fixed parameters of a response.
const RESPONSE: usize = 13;
/// Fixed parameters of a request or event.
const EVENT: usize = 16;
/// Where a request carries its correlation id.
const CORRELATION: usize = HEADER + 4;
/// For locks only; members want some number.
const THREAD_ID: i64 = 1;

/// Kinds of messages that come in.
pub(crate) mod kind {
    pub(crate) const ERROR: i32 = 0;
    pub(crate) const AUTHENTICATION: i32 = 0x000101;
    pub(crate) const MEMBERS_VIEW: i32 = 0x000302;
    pub(crate) const PARTITIONS_VIEW: i32 = 0x000303;
    pub(crate) const KEY_LISTENER_EVENT: i32 = 0x011802;
    pub(crate) const MAP_LISTENER_EVENT: i32 = 0x011902;
}

/// Codes of the member's errors that are handled by code.
pub(crate) mod error_code {
    pub(crate) const UNSUPPORTED: i32 = 61;
    /// The member did not carry the request out, another try may succeed: caller not member, not active, member
    /// left, partition migrating, retryable (2), not member, wrong target, target not replica, cannot replicate.
    pub(crate) const RETRYABLE: [i32; 10] = [8, 19, 33, 39, 46, 47, 53, 62, 82, 90];
}

/// Bits of the entry events.
pub(crate) mod event {
    pub(crate) const ADDED: i32 = 1;
    pub(crate) const REMOVED: i32 = 2;
    pub(crate) const UPDATED: i32 = 4;
    pub(crate) const EVICTED: i32 = 8;
    pub(crate) const EXPIRED: i32 = 16;
    pub(crate) const EVICT_ALL: i32 = 32;
    pub(crate) const CLEAR_ALL: i32 = 64;
    pub(crate) const MERGED: i32 = 128;
    pub(crate) const LOADED: i32 = 512;
    /// What a watch listens to.
    pub(crate) const ALL: i32 =
        ADDED | REMOVED | UPDATED | EVICTED | EXPIRED | EVICT_ALL | CLEAR_ALL | MERGED | LOADED;
}

/// A request, complete but for its correlation id.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// For messages.
    pub(crate) name: &'static str,
    /// May it be sent again when nobody knows whether it was carried out?
    pub(crate) idempotent: bool,
}

impl Request {
    /// The bytes to send.
    pub(crate) fn with_correlation(&self, correlation: i64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[CORRELATION..CORRELATION + 8].copy_from_slice(&correlation.to_le_bytes());
        bytes
    }
}

/// Builds a request frame by frame.
struct Builder {
    bytes: Vec<u8>,
    frame: usize,
    name: &'static str,
    idempotent: bool,
}

impl Builder {
    /// `partition`: of the key; −1: any member will do.
    fn new(name: &'static str, kind: i32, partition: i32) -> Self {
        let mut builder = Self { bytes: Vec::with_capacity(128), frame: 0, name, idempotent: true };
        builder.open(UNFRAGMENTED);
        builder.int(kind).long(0).int(partition)
    }

    fn open(&mut self, flags: u16) {
        self.frame = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&flags.to_le_bytes());
    }

    fn close(&mut self) {
        // Far below 4 GiB: values and names are limited at the interface.
        let length = (self.bytes.len() - self.frame) as u32;
        self.bytes[self.frame..self.frame + 4].copy_from_slice(&length.to_le_bytes());
    }

    const fn not_idempotent(mut self) -> Self {
        self.idempotent = false;
        self
    }

    fn byte(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    fn int(mut self, value: i32) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn long(mut self, value: i64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn uuid(self, value: Uuid) -> Self {
        self.byte(0).long(value.high).long(value.low)
    }

    fn frame(mut self, flags: u16) -> Self {
        self.close();
        self.open(flags);
        self
    }

    fn data(self, bytes: &[u8]) -> Self {
        let mut builder = self.frame(0);
        builder.bytes.extend_from_slice(bytes);
        builder
    }

    fn nullable(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.data(bytes),
            None => self.frame(IS_NULL),
        }
    }

    fn text(self, text: &str) -> Self {
        self.data(text.as_bytes())
    }

    fn build(mut self) -> Request {
        self.close();
        let flags = self.frame + 4;
        let [low, high] = [self.bytes[flags], self.bytes[flags + 1]];
        let last = u16::from_le_bytes([low, high]) | IS_FINAL;
        self.bytes[flags..flags + 2].copy_from_slice(&last.to_le_bytes());
        Request { bytes: self.bytes, name: self.name, idempotent: self.idempotent }
    }
}

/// Who asks to come in.
pub(crate) struct Login<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) client: Uuid,
    pub(crate) serialization_version: u8,
    pub(crate) client_type: &'a str,
    pub(crate) client_version: &'a str,
    pub(crate) client_name: &'a str,
    pub(crate) labels: &'a [&'a str],
}

/// Members up to the present accept this form, which is that of protocol 2.0 to 2.7.
pub(crate) fn authentication(login: &Login<'_>) -> Request {
    let mut builder = Builder::new("authentication", 0x000100, -1)
        .uuid(login.client)
        .byte(login.serialization_version)
        .text(login.cluster)
        .nullable(login.username.map(str::as_bytes))
        .nullable(login.password.map(str::as_bytes))
        .text(login.client_type)
        .text(login.client_version)
        .text(login.client_name)
        .frame(BEGIN);
    for label in login.labels {
        builder = builder.text(label);
    }
    builder.frame(END).build()
}

pub(crate) fn ping() -> Request {
    Builder::new("ping", 0x000B00, -1).build()
}

pub(crate) fn add_cluster_view_listener() -> Request {
    Builder::new("add cluster view listener", 0x000300, -1).build()
}

pub(crate) fn map_get(map: &str, key: &[u8], partition: i32) -> Request {
    Builder::new("get", 0x010200, partition).long(THREAD_ID).text(map).data(key).build()
}

/// Idempotent as long as one writer at a time sets a key.
pub(crate) fn map_set(map: &str, key: &[u8], value: &[u8], partition: i32) -> Request {
    const MAP_DEFAULT_TTL: i64 = -1;
    let builder = Builder::new("set", 0x010F00, partition).long(THREAD_ID).long(MAP_DEFAULT_TTL);
    builder.text(map).data(key).data(value).build()
}

pub(crate) fn map_delete(map: &str, key: &[u8], partition: i32) -> Request {
    Builder::new("delete", 0x010900, partition).long(THREAD_ID).text(map).data(key).build()
}

pub(crate) fn map_put_if_absent(map: &str, key: &[u8], value: &[u8], partition: i32) -> Request {
    const NO_TTL: i64 = -1;
    let builder = Builder::new("put if absent", 0x010E00, partition).long(THREAD_ID).long(NO_TTL);
    builder.text(map).data(key).data(value).not_idempotent().build()
}

pub(crate) fn map_replace_if_same(map: &str, key: &[u8], old: &[u8], new: &[u8], partition: i32) -> Request {
    let builder = Builder::new("replace if same", 0x010500, partition).long(THREAD_ID);
    builder.text(map).data(key).data(old).data(new).not_idempotent().build()
}

pub(crate) fn map_key_set(map: &str) -> Request {
    Builder::new("key set", 0x012200, -1).text(map).build()
}

pub(crate) fn map_entry_set(map: &str) -> Request {
    Builder::new("entry set", 0x012500, -1).text(map).build()
}

/// With the new values, and for the whole cluster whichever member is asked.
pub(crate) fn add_map_listener(map: &str, flags: i32) -> Request {
    Builder::new("add entry listener", 0x011900, -1).byte(1).int(flags).byte(0).text(map).build()
}

/// The same for one key.
pub(crate) fn add_key_listener(map: &str, key: &[u8], flags: i32) -> Request {
    let builder = Builder::new("add entry listener to key", 0x011800, -1).byte(1).int(flags).byte(0);
    builder.text(map).data(key).build()
}

pub(crate) fn remove_listener(map: &str, registration: Uuid) -> Request {
    Builder::new("remove entry listener", 0x011A00, -1).uuid(registration).text(map).build()
}

/// Where a CP object lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RaftGroup {
    pub(crate) name: String,
    pub(crate) seed: i64,
    pub(crate) id: i64,
}

impl Builder {
    fn group(self, group: &RaftGroup) -> Self {
        self.frame(BEGIN).frame(0).long(group.seed).long(group.id).text(&group.name).frame(END)
    }
}

pub(crate) fn create_cp_group(proxy: &str) -> Request {
    Builder::new("create CP group", 0x1E0100, -1).text(proxy).build()
}

pub(crate) fn reference_get(group: &RaftGroup, name: &str) -> Request {
    Builder::new("atomic reference get", 0x0A0400, -1).group(group).text(name).build()
}

pub(crate) fn reference_set(group: &RaftGroup, name: &str, value: Option<&[u8]>) -> Request {
    const RETURN_OLD_VALUE: u8 = 0;
    let builder = Builder::new("atomic reference set", 0x0A0500, -1).byte(RETURN_OLD_VALUE);
    builder.group(group).text(name).nullable(value).build()
}

/// The answer to [`authentication`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// 0: come in; 1: cluster name or credentials; 2: serialization version; 3: this client is not allowed.
    pub(crate) status: u8,
    pub(crate) member: Option<Uuid>,
    pub(crate) partitions: i32,
    pub(crate) cluster: Option<Uuid>,
    pub(crate) server_version: String,
}

pub(crate) fn read_welcome(message: &Message) -> Result<Welcome, ProtocolError> {
    let fixed = message.initial();
    let mut rest = message.rest();
    // The address: null, or a structure.
    if !rest.next()?.has(IS_NULL) {
        rest.skip_to_end()?;
    }
    let server_version = rest.text()?;
    Ok(Welcome {
        status: u8_at(fixed, RESPONSE)?,
        member: uuid_at(fixed, RESPONSE + 1)?,
        partitions: i32_at(fixed, 32)?,
        cluster: uuid_at(fixed, 36)?,
        server_version,
    })
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) uuid: Uuid,
    pub(crate) host: String,
    pub(crate) port: i32,
}

/// A version of the member list, ascending.
pub(crate) fn read_members_view(message: &Message) -> Result<(i32, Vec<Member>), ProtocolError> {
    let version = i32_at(message.initial(), EVENT)?;
    let members = message.rest().list(|frames| {
        frames.begin()?;
        let Some(uuid) = uuid_at(&frames.next()?.payload, 0)? else { return broken("a member without id") };
        frames.begin()?;
        let port = i32_at(&frames.next()?.payload, 0)?;
        let host = frames.text()?;
        frames.skip_to_end()?;
        frames.skip_to_end()?;
        Ok(Member { uuid, host, port })
    })?;
    Ok((version, members))
}

/// The partitions of each member.
pub(crate) type Partitions = Vec<(Uuid, Vec<i32>)>;

/// A version of the partition table, ascending.
pub(crate) fn read_partitions_view(message: &Message) -> Result<(i32, Partitions), ProtocolError> {
    let version = i32_at(message.initial(), EVENT)?;
    let mut rest = message.rest();
    let owned: Vec<Vec<i32>> = rest.list(|frames| {
        let (numbers, _) = frames.data()?.as_chunks::<4>();
        Ok(numbers.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
    })?;
    let owners = &rest.next()?.payload;
    if owners.len() != owned.len() * UUID_BYTES {
        return broken(format!("{} partition lists, {} bytes of owners", owned.len(), owners.len()));
    }
    let mut table = Partitions::with_capacity(owned.len());
    for (at, partitions) in owned.into_iter().enumerate() {
        if let Some(owner) = uuid_at(owners, at * UUID_BYTES)? {
            table.push((owner, partitions));
        }
    }
    Ok((version, table))
}

/// A value, or `None`.
pub(crate) fn read_value(message: &Message) -> Result<Option<&[u8]>, ProtocolError> {
    message.rest().nullable()
}

/// The one boolean of a response.
pub(crate) fn read_bool(message: &Message) -> Result<bool, ProtocolError> {
    Ok(u8_at(message.initial(), RESPONSE)? != 0)
}

/// The registration of a listener.
pub(crate) fn read_registration(message: &Message) -> Result<Uuid, ProtocolError> {
    match uuid_at(message.initial(), RESPONSE)? {
        Some(uuid) => Ok(uuid),
        None => broken("a listener without registration"),
    }
}

/// Keys, or what else comes as a list of data.
pub(crate) fn read_list(message: &Message) -> Result<Vec<&[u8]>, ProtocolError> {
    message.rest().list(Cursor::data)
}

/// Keys and values.
pub(crate) fn read_entries(message: &Message) -> Result<Vec<(&[u8], &[u8])>, ProtocolError> {
    message.rest().list(|frames| Ok((frames.data()?, frames.data()?)))
}

/// A change of a map.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EntryEvent<'a> {
    /// One bit of [`event`].
    pub(crate) kind: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

pub(crate) fn read_entry_event(message: &Message) -> Result<EntryEvent<'_>, ProtocolError> {
    let mut rest = message.rest();
    let kind = i32_at(message.initial(), EVENT)?;
    Ok(EntryEvent { kind, key: rest.nullable()?, value: rest.nullable()? })
}

pub(crate) fn read_raft_group(message: &Message) -> Result<RaftGroup, ProtocolError> {
    let mut rest = message.rest();
    rest.begin()?;
    let fixed = &rest.next()?.payload;
    let (seed, id) = (super::frame::i64_at(fixed, 0)?, super::frame::i64_at(fixed, 8)?);
    Ok(RaftGroup { name: rest.text()?, seed, id })
}

/// The first error of an error response; the others are its causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberError {
    pub(crate) code: i32,
    pub(crate) class: String,
    pub(crate) message: Option<String>,
}

impl std::fmt::Display for MemberError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let class = self.class.rsplit('.').next().unwrap_or(&self.class);
        write!(f, "{class} (code {})", self.code)?;
        match &self.message {
            Some(message) => write!(f, ": {}", message.chars().take(300).collect::<String>()),
            None => Ok(()),
        }
    }
}

pub(crate) fn read_error(message: &Message) -> Result<MemberError, ProtocolError> {
    let mut rest = message.rest();
    rest.begin()?;
    rest.begin()?;
    let code = i32_at(&rest.next()?.payload, 0)?;
    let class = rest.text()?;
    let message = rest.nullable()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ok(MemberError { code, class, message })
}

#[cfg(test)]
#[path = "codec_tests.rs"]
#[allow(clippy::disallowed_methods, reason = "tests read files")]
mod tests;
