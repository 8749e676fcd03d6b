//! Writing under a lease to a cluster that runs no code of ours.
//!
//! A member can compare and set one whole value. So a value carries its fence, and a fenced write is
//! `replaceIfSame(what was read, new value)`, or `putIfAbsent`, where what was read carries no larger fence; a failed
//! comparison reads again. Texts of different fences differ, so the comparison of a replaced writer fails from the moment
//! on in which its successor has written, or claimed, the key: it reads, finds the larger fence, and is refused. What
//! remains open to it are keys that the successor has neither read nor written; those it may reach between its look at
//! the record of the lease, once a batch, and the arrival of its comparison. docs/lease.md says why that harms nobody.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::client::{Hazelcast, PIPELINE, garbled};
use super::codec;
use super::data::{same_kind, to_data, to_text};
use crate::error::MemoryError;
use crate::fence::{Fence, fence_of, stamp};
use crate::request::Write;
use crate::schema::{FromMemory, LEASES, LeaseRecord};

impl Hazelcast {
    /// Each value takes the place of one without a larger fence only, as one step of the member that owns the key.
    pub(super) async fn set_all_fenced(&self, writes: &[Write], fence: &Fence) -> Result<(), MemoryError> {
        let Some(first) = writes.first() else { return Ok(()) };
        let record = match self.get(LEASES, &fence.lease).await {
            Ok(text) => text.and_then(|text| LeaseRecord::from_memory(&text).ok()),
            Err(MemoryError::NotText { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(newer) = record.map(|record| record.fence).filter(|newer| *newer > fence.number) {
            return Err(MemoryError::fenced(&first.map, &first.key, &fence.lease, fence.number, newer));
        }
        for part in writes.chunks(PIPELINE) {
            let sets = join_all(part.iter().map(|write| self.set_fenced(write, fence))).await;
            sets.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    async fn set_fenced(&self, write: &Write, fence: &Fence) -> Result<(), MemoryError> {
        let Write { map, key, value } = write;
        let new = to_data(value);
        let known = self.written().get(map, key);
        self.replace(map, key, fence, known, |_| Some(new.clone())).await.map(|_| ())
    }

    /// Reads a value and stamps it.
    pub(super) async fn claim(
        &self,
        map: &str,
        key: &str,
        fence: &Fence,
    ) -> Result<Option<String>, MemoryError> {
        let claimed = self
            .replace(map, key, fence, None, |found| {
                let found = found?;
                let text = to_text(found).ok()??;
                Some(same_kind(found, &stamp(&text, fence.number)?))
            })
            .await?;
        let Some(data) = claimed else { return Ok(None) };
        to_text(&data).map_err(|found| MemoryError::NotText {
            map: map.to_owned(),
            key: key.to_owned(),
            found,
        })
    }

    /// Replaces a value by what `change` makes of it (`None`: it is left), unless it carries a larger fence; gives what
    /// stands there then. `known`: what probably stands there, which saves a read.
    async fn replace(
        &self,
        map: &str,
        key: &str,
        fence: &Fence,
        known: Option<Vec<u8>>,
        change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, MemoryError> {
        let deadline = Instant::now() + self.limit();
        let data = to_data(key);
        let (mut found, mut read) = match known {
            Some(known) => (Some(known), false),
            None => (self.raw(map, &data).await?, true),
        };
        loop {
            let carried = found.as_ref().and_then(|found| to_text(found).ok()?).as_deref().and_then(fence_of);
            if let Some(newer) = carried.filter(|carried| *carried > fence.number) {
                return Err(MemoryError::fenced(map, key, &fence.lease, fence.number, newer));
            }
            let Some(new) = change(found.as_deref()) else { return Ok(found) };
            if read && found.as_ref() == Some(&new) {
                return Ok(found);
            }
            match self.swap(map, &data, found.as_deref(), &new).await {
                Ok(true) => {
                    self.written().keep(map, key, new.clone());
                    return Ok(Some(new));
                }
                // Whether it happened shows in what is there now.
                Ok(false) | Err(MemoryError::Ambiguous(_)) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                return Err(MemoryError::Timeout { operation: "fenced set", limit: self.limit() });
            }
            // At once: the shorter the time from reading to comparing, the sooner it succeeds. Each round is a way to
            // the member and back, and the deadline ends it.
            (found, read) = (self.raw(map, &data).await?, true);
        }
    }

    /// The value as the member keeps it.
    async fn raw(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, MemoryError> {
        let answer = self.invoke(Some(key), |partition| codec::map_get(map, key, partition)).await?;
        Ok(codec::read_value(&answer).map_err(garbled)?.map(<[u8]>::to_vec))
    }
}
