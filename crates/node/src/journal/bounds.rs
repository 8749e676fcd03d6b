//! What the numbers of a record may be. A sum tells that bytes are those that were written, not that a program of ours wrote
//! them: a record of any numbers can carry a right sum, and the stages do arithmetic with what they take.
//!
//! So a value is looked at where it is decoded, every field of it, by one rule for all types: it passes through a
//! serialiser that keeps nothing and looks at the numbers.

use std::fmt;

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Times and counts: they reach to the year 2116, and no sum of two overflows. 64 ones are the word for *for ever*, which the
/// stages know.
const MOST: i128 = 1 << 62;
/// Money (to 2.8 thousand million) and differences of times. The largest number is the word for *no limit*.
const MOST_SIGNED: i128 = 1 << 58;
/// Prices in ticks and quantities in lots: what a book holds ([`market::Level`]), and totals of some of them.
const MOST_PX: i128 = 1 << 48;
const MOST_QTY: i128 = 1 << 52;
/// Floats: prices, money, shares of something. They may also be missing (NaN) or without a limit (infinite).
const MOST_FLOAT: f64 = 1e18;

/// Looks at every number of a value; `symbols`: how many there are.
pub fn check(value: &impl Serialize, symbols: usize) -> Result<(), String> {
    value.serialize(Look { symbols, field: "" }).map_err(|e| e.0)
}

/// Which number it was.
#[derive(Debug)]
struct Out(String);

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Out {}

impl serde::ser::Error for Out {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

#[derive(Clone, Copy)]
struct Look {
    symbols: usize,
    /// The field or variant that the value stands in.
    field: &'static str,
}

impl Look {
    const fn within(self, field: &'static str) -> Self {
        Self { field, ..self }
    }

    fn whole(self, n: i128, most: i128, none: i128) -> Result<(), Out> {
        let most = match self.field {
            "px" | "last_px" => MOST_PX,
            "qty" | "last_qty" | "cum_qty" | "leaves_qty" => MOST_QTY,
            // Nobody calculates with it, and the venue's ids fill 64 bits.
            "digest" | "id" | "trip" => return Ok(()),
            id if id.ends_with("_id") => return Ok(()),
            _ if n == none => return Ok(()),
            _ => most,
        };
        if (-most..=most).contains(&n) { Ok(()) } else { Err(self.out(n)) }
    }

    fn out(self, n: impl fmt::Display) -> Out {
        Out::custom(format_args!("{} is {n}, which it cannot be", self.field))
    }
}

macro_rules! nothing {
    ($($name:ident($($type:ty),*)),*) => { $(
        fn $name(self, $(_: $type),*) -> Result<(), Out> {
            Ok(())
        }
    )* };
}

impl Serializer for Look {
    type Ok = ();
    type Error = Out;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_u64(self, n: u64) -> Result<(), Out> {
        self.whole(n.into(), MOST, u64::MAX.into())
    }

    fn serialize_i64(self, n: i64) -> Result<(), Out> {
        self.whole(n.into(), MOST_SIGNED, i64::MAX.into())
    }

    fn serialize_i128(self, n: i128) -> Result<(), Out> {
        self.whole(n, MOST, i64::MAX.into())
    }

    nothing!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_u8(u8),
        serialize_u32(u32),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_none(),
        serialize_unit(),
        serialize_unit_struct(&'static str),
        serialize_unit_variant(&'static str, u32, &'static str)
    );

    fn serialize_u128(self, n: u128) -> Result<(), Out> {
        i128::try_from(n).map_err(|_| self.out(n)).and_then(|n| self.serialize_i128(n))
    }

    /// Columns of symbols, but for the number of an attempt.
    fn serialize_u16(self, n: u16) -> Result<(), Out> {
        if self.field == "attempt" || usize::from(n) < self.symbols { Ok(()) } else { Err(self.out(n)) }
    }

    fn serialize_f32(self, x: f32) -> Result<(), Out> {
        self.serialize_f64(f64::from(x))
    }

    fn serialize_f64(self, x: f64) -> Result<(), Out> {
        if x.is_finite() && x.abs() > MOST_FLOAT { Err(self.out(x)) } else { Ok(()) }
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Out> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), Out> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Out> {
        value.serialize(self.within(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Out> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Out> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Out> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, Out> {
        Ok(self.within(variant))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Out> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Out> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self, Out> {
        Ok(self.within(variant))
    }
}

macro_rules! parts {
    ($($of:ident: $name:ident($($key:ident)?)),*) => { $(
        impl $of for Look {
            type Ok = ();
            type Error = Out;

            fn $name<T: ?Sized + Serialize>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Out> {
                let look = *self;
                $(let look = look.within($key);)?
                value.serialize(look)
            }

            fn end(self) -> Result<(), Out> {
                Ok(())
            }
        }
    )* };
}

parts!(
    SerializeSeq: serialize_element(), SerializeTuple: serialize_element(), SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(), SerializeStruct: serialize_field(key),
    SerializeStructVariant: serialize_field(key)
);

impl SerializeMap for Look {
    type Ok = ();
    type Error = Out;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Out> {
        key.serialize(*self)
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Out> {
        value.serialize(*self)
    }

    fn end(self) -> Result<(), Out> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use market::{Bbo, Level, MarkPrice, Nanos, Px, Qty, SymbolId};

    use super::*;
    use crate::stages::Tick;
    use crate::stages::router::{Quote, RouterCommand};

    fn bbo(change: impl FnOnce(&mut Bbo)) -> Result<(), String> {
        let level = Level { px: Px(100), qty: Qty(1) };
        let (ts_event, ts_send) = (Nanos(1), Nanos(1));
        let mut bbo = Bbo { symbol: SymbolId(1), ts_event, ts_send, update_id: 1, bid: level, ask: level };
        change(&mut bbo);
        check(&Quote::Bbo(bbo), 2)
    }

    #[test]
    fn a_number_that_cannot_be_is_named_by_its_field() {
        assert_eq!(bbo(|_| ()), Ok(()));
        let named = |change: fn(&mut Bbo), field: &str| {
            let why = bbo(change).unwrap_err();
            assert!(why.starts_with(field), "{why}");
        };
        named(|b| b.symbol = SymbolId(2), "symbol is 2,");
        named(|b| b.ask.px = Px(1 << 49), "px is");
        named(|b| b.bid.qty = Qty(-1 << 53), "qty is");
        named(|b| b.ts_send = Nanos(u64::MAX - 1), "ts_send is");
        assert!(check(&Quote::Lost(SymbolId(2)), 2).unwrap_err().starts_with("Lost is 2"));
        assert!(check(&RouterCommand::Halt(SymbolId(9)), 2).is_err());
    }

    #[test]
    fn floats_may_be_missing_or_without_a_limit_and_not_absurd() {
        let mark = |mark| {
            let (symbol, ts_send) = (SymbolId(0), Nanos(1));
            let rest =
                MarkPrice { symbol, ts_send, mark, index: 1.0, funding_rate: 0.0, next_funding: Nanos(1) };
            check(&Quote::Mark(rest), 1)
        };
        assert!(mark(f64::NAN).is_ok() && mark(1e6).is_ok());
        assert!(mark(f64::INFINITY).is_ok() && mark(-1e300).unwrap_err().starts_with("mark is"));
        assert_eq!(check(&Tick::new(3), 3), Ok(()), "a tick without prices");
    }
}
