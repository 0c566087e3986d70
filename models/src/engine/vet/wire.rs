//! Protobuf's wire format, as far as a model has to be looked through: nothing is copied, nothing is trusted.

/// Fields of a message, in the order of the bytes.
#[derive(Clone)]
pub(super) struct Fields<'m> {
    left: &'m [u8],
}

/// A field's number and what it holds.
pub(super) struct Field<'m> {
    pub(super) number: u64,
    pub(super) value: Value<'m>,
}

#[derive(Clone, Copy)]
pub(super) enum Value<'m> {
    Whole(u64),
    Bytes(&'m [u8]),
    /// Floats and doubles, which nobody asks for here.
    Fixed,
}

/// The bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl<'m> Fields<'m> {
    pub(super) const fn of(message: &'m [u8]) -> Self {
        Self { left: message }
    }

    fn take(&mut self, bytes: usize) -> Result<&'m [u8], Broken> {
        let (taken, left) = self.left.split_at_checked(bytes).ok_or(Broken)?;
        self.left = left;
        Ok(taken)
    }

    fn whole(&mut self) -> Result<u64, Broken> {
        let mut whole = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take(1)? else {
                return Err(Broken);
            };
            whole |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(whole);
            }
        }
        Err(Broken)
    }

    fn field(&mut self) -> Result<Field<'m>, Broken> {
        let key = self.whole()?;
        let value = match key & 7 {
            0 => Value::Whole(self.whole()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.whole()?).map_err(|_| Broken)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups have not been written for twenty years.
            _ => return Err(Broken),
        };
        let number = key >> 3;
        if number == 0 {
            return Err(Broken);
        }
        Ok(Field { number, value })
    }
}

impl<'m> Iterator for Fields<'m> {
    type Item = Result<Field<'m>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.left = &[];
        }
        Some(field)
    }
}

/// All messages, texts or bytes with this number.
pub(super) fn all(message: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], Broken>> {
    Fields::of(message).filter_map(move |field| match field {
        Ok(field) if field.number == number => match field.value {
            Value::Bytes(bytes) => Some(Ok(bytes)),
            Value::Whole(_) | Value::Fixed => Some(Err(Broken)),
        },
        Ok(_) => None,
        Err(broken) => Some(Err(broken)),
    })
}

/// The last text with this number, as protobuf has it; empty if there is none.
pub(super) fn text(message: &[u8], number: u64) -> Result<&str, Broken> {
    let mut found: &[u8] = &[];
    for bytes in all(message, number) {
        found = bytes?;
    }
    std::str::from_utf8(found).map_err(|_| Broken)
}

/// The last whole number with this number.
pub(super) fn whole(message: &[u8], number: u64) -> Result<Option<u64>, Broken> {
    let mut found = None;
    for field in Fields::of(message) {
        let field = field?;
        if let Value::Whole(whole) = field.value
            && field.number == number
        {
            found = Some(whole);
        }
    }
    Ok(found)
}

/// All whole numbers with this number, one by one or packed.
pub(super) fn wholes(message: &[u8], number: u64) -> Result<Vec<i64>, Broken> {
    let mut wholes = Vec::new();
    for field in Fields::of(message) {
        let field = field?;
        if field.number != number {
            continue;
        }
        match field.value {
            Value::Whole(whole) => wholes.push(whole.cast_signed()),
            Value::Bytes(packed) => {
                let mut packed = Fields::of(packed);
                while !packed.left.is_empty() {
                    wholes.push(packed.whole()?.cast_signed());
                }
            }
            Value::Fixed => return Err(Broken),
        }
    }
    Ok(wholes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_protobuf_writes_them() {
        // 1: 150, 2: "hi", 3: [3, 270] packed, 3: -1 by itself, 4: a float.
        let message = [
            &b"\x08\x96\x01"[..],
            b"\x12\x02hi",
            b"\x1a\x03\x03\x8e\x02",
            b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x25\0\0\0\0",
        ]
        .concat();
        assert_eq!(whole(&message, 1), Ok(Some(150)));
        assert_eq!(whole(&message, 9), Ok(None));
        assert_eq!(text(&message, 2), Ok("hi"));
        assert_eq!(text(&message, 9), Ok(""));
        assert_eq!(wholes(&message, 3), Ok(vec![3, 270, -1]));
        for cut in [1, 2, 4, 6, 9, 14, message.len() - 1] {
            let broken = Fields::of(&message[..cut]).any(|field| field.is_err());
            assert!(broken, "{cut}");
        }
    }

    #[test]
    fn what_is_no_message_is_broken_and_ends() {
        for bytes in [
            &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x0b\x0c",
            b"\x00\x00",
        ] {
            let fields: Vec<_> = Fields::of(bytes).collect();
            assert!(matches!(fields.as_slice(), [Err(Broken)]), "{bytes:?}");
        }
    }
}
