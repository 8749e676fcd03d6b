//! Replies of the WebSocket API, taken apart: `{"id":…,"status":200,"result":{…}}` or
//! `{"id":…,"status":400,"error":{"code":…,"msg":"…"}}`, each with optional `rateLimits`.

use arrayvec::ArrayVec;

use crate::json::{JsonError, Reader, Scalar};
use crate::limits::{LimitKind, interval_ns};
use crate::report::{OrderRow, Source};

/// A venue count of a rate limit window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitCount {
    pub(crate) kind: LimitKind,
    pub(crate) length: u64,
    pub(crate) limit: Option<u32>,
    pub(crate) used: Option<u32>,
}

/// A reply.
#[derive(Debug, Default)]
pub(crate) struct Reply<'a> {
    pub(crate) id: Scalar<'a>,
    pub(crate) status: Scalar<'a>,
    pub(crate) order: Option<OrderRow<'a>>,
    pub(crate) error: Option<ErrorBody<'a>>,
    pub(crate) limits: ArrayVec<LimitCount, 8>,
}

/// `{"code":…,"msg":"…"}`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ErrorBody<'a> {
    pub(crate) code: Scalar<'a>,
    pub(crate) msg: Scalar<'a>,
    /// End of a ban or throttle, venue ms, where the venue gives it as a field of `data`.
    pub(crate) retry_after: Scalar<'a>,
}

impl<'a> ErrorBody<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut body = Self::default();
        reader.object(&mut |r, key| body.field(r, key))?;
        Ok(body)
    }

    pub(crate) fn field(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), JsonError> {
        match key {
            "code" => self.code = reader.scalar()?,
            "msg" => self.msg = reader.scalar()?,
            "data" if reader.at_object()? => reader.object(&mut |r, key| {
                let value = r.scalar()?;
                if key == "retryAfter" {
                    self.retry_after = value;
                }
                Ok(())
            })?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// The code; 0 if there is none.
    pub(crate) fn code(&self) -> i32 {
        self.code.i64().and_then(|c| i32::try_from(c).ok()).unwrap_or(0)
    }
}

impl<'a> Reply<'a> {
    /// Reads a frame.
    pub(crate) fn parse(frame: &'a [u8]) -> Result<Self, JsonError> {
        let mut reply = Self::default();
        Reader::new(frame)?.document(&mut |r, key| reply.field(r, key))?;
        Ok(reply)
    }

    fn field(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), JsonError> {
        match key {
            "id" => self.id = reader.scalar()?,
            "status" => self.status = reader.scalar()?,
            "result" if reader.at_object()? => self.order = Some(OrderRow::read(Source::Reply, reader)?),
            "error" if reader.at_object()? => self.error = Some(ErrorBody::read(reader)?),
            "rateLimits" if reader.at_array()? => reader.array(&mut |r| {
                if !r.at_object()? {
                    return r.skip();
                }
                if let Some(count) = limit_count(r)? {
                    // More windows than the venue has are of no use to us.
                    let _ = self.limits.try_push(count);
                }
                Ok(())
            })?,
            _ => reader.skip()?,
        }
        Ok(())
    }
}

/// One entry of `rateLimits` (also of exchangeInfo, which has no `count`).
pub(crate) fn limit_count(reader: &mut Reader<'_>) -> Result<Option<LimitCount>, JsonError> {
    let (mut kind, mut interval, mut number) = (Scalar::Missing, Scalar::Missing, Scalar::Missing);
    let (mut limit, mut used) = (Scalar::Missing, Scalar::Missing);
    reader.object(&mut |r, key| {
        let value = r.scalar()?;
        match key {
            "rateLimitType" => kind = value,
            "interval" => interval = value,
            "intervalNum" => number = value,
            "limit" => limit = value,
            "count" => used = value,
            _ => {}
        }
        Ok(())
    })?;
    let kind = match kind.text() {
        Some("REQUEST_WEIGHT") => LimitKind::Weight,
        Some("ORDERS") => LimitKind::Orders,
        _ => return Ok(None),
    };
    let length = interval.text().and_then(|name| interval_ns(name, number.u64()?));
    let small = |v: Scalar<'_>| v.u64().and_then(|n| u32::try_from(n).ok());
    Ok(length.map(|length| LimitCount { kind, length, limit: small(limit), used: small(used) }))
}
