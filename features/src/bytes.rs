//! Bytes of an image of the store: written as little-endian numbers, and read with every length held against what is there.

/// Why bytes are no image: what was being read when they made no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Writes numbers behind what is there.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_le_bytes());
    }

    fn put_i128(&mut self, value: i128) {
        self.put(&value.to_le_bytes());
    }

    /// How many items follow. One entity never has as many as 32 bits count: its events fit into memory.
    fn put_list(&mut self, items: usize) {
        self.put_u32(u32::try_from(items).unwrap_or(u32::MAX));
    }

    /// A count of events.
    fn put_count(&mut self, count: usize) {
        self.put_u64(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn put_optional(&mut self, value: Option<u64>) {
        self.put_u8(u8::from(value.is_some()));
        if let Some(value) = value {
            self.put_u64(value);
        }
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts beyond this, a million million, are not counts of events.
const COUNT_MAX: u64 = 1 << 40;

/// Bytes that are still to be read.
#[derive(Debug)]
pub(crate) struct Take<'b> {
    rest: &'b [u8],
}

impl<'b> Take<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed("end of the bytes"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Malformed("end of the bytes"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn i128(&mut self) -> Result<i128, Malformed> {
        self.array().map(i128::from_le_bytes)
    }

    /// How many items follow, of so many bytes at least: never more than there are bytes for, so that room can be made for
    /// them before they are read.
    pub(crate) fn list(&mut self, item_bytes: usize) -> Result<usize, Malformed> {
        let items = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let fits = items
            .checked_mul(item_bytes)
            .is_some_and(|bytes| bytes <= self.rest.len());
        fits.then_some(items).ok_or(Malformed("length of a list"))
    }

    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let count = Some(self.u64()?).filter(|count| *count <= COUNT_MAX);
        count
            .and_then(|count| usize::try_from(count).ok())
            .ok_or(Malformed("count of events"))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("yes or no")),
        }
    }

    pub(crate) fn optional(&mut self) -> Result<Option<u64>, Malformed> {
        self.flag()?.then(|| self.u64()).transpose()
    }
}
