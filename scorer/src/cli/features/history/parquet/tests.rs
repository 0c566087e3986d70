//! Every type of column that is read, written and read back.

use std::sync::Arc;

use parquet::data_type::{
    BoolType, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96, Int96Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::*;

const SCHEMA: &str = "message history {
    required int32 cents (decimal(9, 2));
    required fixed_len_byte_array(3) long (decimal(6, 1));
    required int64 unsigned (integer(64, false));
    required int32 day (date);
    required int64 nanos (timestamp(nanos, true));
    required int96 old;
    required float float;
    optional boolean flag;
    optional binary text;
    repeated int32 list;
}";

/// Two rows a row group.
fn write_group(group: &mut SerializedRowGroupWriter<'_, File>, text: &[Option<&str>; 2]) {
    let bytes = |bytes: [u8; 3]| FixedLenByteArray::from(bytes.to_vec());
    let mut midnight = Int96::new();
    // 1970-01-02, as a Julian day.
    midnight.set_data(0, 0, 2_440_589);
    column::<Int32Type>(group, &[5_716, -1], None);
    column::<FixedLenByteArrayType>(group, &[bytes([0, 1, 0]), bytes([255; 3])], None);
    column::<Int64Type>(group, &[-1, 7], None);
    column::<Int32Type>(group, &[1, -1], None);
    column::<Int64Type>(group, &[1_999, -1], None);
    column::<Int96Type>(group, &[midnight, midnight], None);
    column::<FloatType>(group, &[57.16, 0.1], None);
    column::<BoolType>(group, &[true], Some(&[0, 1]));
    let levels = text.map(|text| i16::from(text.is_some()));
    let there: Vec<ByteArray> = text.iter().flatten().map(|text| (*text).into()).collect();
    column::<ByteArrayType>(group, &there, Some(&levels));
    let mut list = group.next_column().unwrap().unwrap();
    let typed = list.typed::<Int32Type>();
    typed
        .write_batch(&[1, 2, 3], Some(&[1, 1, 1]), Some(&[0, 1, 0]))
        .unwrap();
    list.close().unwrap();
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    levels: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<T>()
        .write_batch(values, levels, None)
        .unwrap();
    column.close().unwrap();
}

/// Row groups with these texts.
fn reader(groups: &[[Option<&str>; 2]]) -> ParquetReader {
    let file = tempfile::tempfile().unwrap();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer =
        SerializedFileWriter::new(file.try_clone().unwrap(), schema, properties).unwrap();
    for texts in groups {
        let mut group = writer.next_row_group().unwrap();
        write_group(&mut group, texts);
        group.close().unwrap();
    }
    writer.close().unwrap();
    ParquetReader::new(file, Progress::new("test").unwrap()).unwrap()
}

#[test]
fn every_type_has_its_meaning() {
    let mut reader = reader(&[[Some("a"), None]]);
    reader.select(&[0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let rows = reader.next().unwrap();
    let time = |micros| Value::Time(EventTime::from_micros(micros));
    let decimal = |digits, scale| Value::Decimal { digits, scale };
    let expected = [
        [decimal(5_716, 2), decimal(-1, 2)],
        [decimal(256, 1), decimal(-1, 1)],
        [Value::Integer(u64::MAX.into()), Value::Integer(7)],
        [time(MICROS_PER_DAY), time(-MICROS_PER_DAY)],
        [time(1), time(-1)],
        [time(MICROS_PER_DAY), time(MICROS_PER_DAY)],
        [Value::Number(57.16), Value::Number(0.1)],
        [Value::Missing, Value::Flag(true)],
        [Value::Text("a"), Value::Missing],
    ];
    assert_eq!(rows.len(), 2);
    for (column, cells) in expected.into_iter().enumerate() {
        for (row, cell) in cells.into_iter().enumerate() {
            assert_eq!(
                rows.cell(row, column),
                Ok(cell),
                "row {row} of column {column}"
            );
        }
    }
    assert_eq!(reader.next().unwrap().len(), 0);
}

#[test]
fn missing_values_keep_their_rows_across_row_groups() {
    let groups = [
        [Some("a"), Some("b")],
        [None, Some("c")],
        [Some("d"), None],
        [Some("e"), Some("f")],
    ];
    let mut reader = reader(&groups);
    reader.select(&[8]).unwrap();
    let rows = reader.next().unwrap();
    let texts = groups
        .as_flattened()
        .iter()
        .map(|text| text.map_or(Value::Missing, Value::Text));
    let cells = (0..8).map(|row| rows.cell(row, 0).unwrap());
    assert!(cells.eq(texts));
    assert_eq!((rows.place(0), rows.place(7)), (1, 8));
}

#[test]
fn a_column_of_lists_is_refused_if_it_is_wanted() {
    let error = reader(&[[None, None]]).select(&[9]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the column list holds lists; expected one value a row"
    );
}
