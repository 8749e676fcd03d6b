//! CRC-32C (Castagnoli, RFC 3720), eight bytes a step.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let (mut crc, mut bit) = (i as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[k - 1][i];
            tables[k][i] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    tables
}

static TABLES: [[u32; 256]; 8] = tables();

/// The checksum of the parts one after the other.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = !0u32;
    for part in parts {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            let low = (u64::from_le_bytes(*word) as u32) ^ crc;
            let high = (u64::from_le_bytes(*word) >> 32) as u32;
            let of = |table: usize, word: u32, shift: u32| TABLES[table][(word >> shift & 0xff) as usize];
            crc = of(7, low, 0) ^ of(6, low, 8) ^ of(5, low, 16) ^ of(4, low, 24);
            crc ^= of(3, high, 0) ^ of(2, high, 8) ^ of(1, high, 16) ^ of(0, high, 24);
        }
        for byte in rest {
            crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_checks() {
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[&rising]), 0x46dd_794e);
        assert_eq!(crc32c(&[&rising[..13], &rising[13..]]), 0x46dd_794e);
    }
}
