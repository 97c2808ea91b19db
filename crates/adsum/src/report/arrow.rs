//! A report as a stream of Arrow IPC: times as timestamps of the zone, dimensions as text, counts as 64-bit integers,
//! ratios as decimals of six digits.
//!
//! Invariant: the columns are those of JSON and CSV, in the same order; no number becomes a float.

use std::io::Write;
use std::sync::Arc;

use adsum_model::time::MICROS_PER_SECOND;
use anyhow::Result;
use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, Decimal128Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::columns::Report;
use super::query::ReportRow;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// A decimal of six digits behind the point, as wide as there are.
const RATIO: DataType = DataType::Decimal128(38, 6);

/// Writes rows as they come, a batch at a time.
pub struct ArrowWriter<'a, W: Write> {
    report: &'a Report,
    schema: Arc<Schema>,
    writer: StreamWriter<W>,
    freshness_seconds: i64,
    starts: TimestampMicrosecondBuilder,
    keys: Vec<StringBuilder>,
    numbers: Vec<Int64Builder>,
    ratios: Vec<Decimal128Builder>,
    flags: BooleanBuilder,
    revisions: StringBuilder,
    fresh: Int64Builder,
}

impl<'a, W: Write> ArrowWriter<'a, W> {
    /// Begins a stream of rows that are so fresh, in an IANA zone.
    pub fn new(report: &'a Report, zone: &str, freshness_seconds: i64, out: W) -> Result<Self> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
        let names = report.names();
        let (keys, numbers) = (report.keys.len(), report.metrics.len() + report.invalid.len());
        let types = (std::iter::once((time.clone(), false)))
            .chain(std::iter::repeat_n((DataType::Utf8, true), keys))
            .chain(std::iter::repeat_n((DataType::Int64, false), numbers))
            .chain(std::iter::repeat_n((RATIO, true), report.ratios.len()))
            .chain([(DataType::Boolean, false), (DataType::Boolean, false)])
            .chain([(DataType::Utf8, false), (DataType::Int64, false)]);
        let fields: Vec<Field> = names.into_iter().zip(types).map(|(n, (t, null))| Field::new(n, t, null)).collect();
        let schema = Arc::new(Schema::new(fields));
        let writer = StreamWriter::try_new(out, &schema)?;
        Ok(Self {
            report,
            writer,
            freshness_seconds,
            starts: TimestampMicrosecondBuilder::new().with_data_type(time),
            keys: std::iter::repeat_with(StringBuilder::new).take(keys).collect(),
            numbers: std::iter::repeat_with(Int64Builder::new).take(numbers).collect(),
            ratios: report.ratios.iter().map(|_| Decimal128Builder::new().with_data_type(RATIO)).collect(),
            flags: BooleanBuilder::new(),
            revisions: StringBuilder::new(),
            fresh: Int64Builder::new(),
            schema,
        })
    }

    /// One row.
    pub fn row(&mut self, row: &ReportRow<'_>) -> Result<()> {
        self.starts.append_value(row.window.start().seconds() * MICROS_PER_SECOND);
        for (column, key) in self.keys.iter_mut().zip(row.keys) {
            column.append_option(*key);
        }
        let invalid = self.report.invalid.iter().map(|_| 0);
        for (column, value) in self.numbers.iter_mut().zip(row.values.iter().copied().chain(invalid)) {
            column.append_value(value);
        }
        for (column, ratio) in self.ratios.iter_mut().zip(&self.report.ratios) {
            column.append_option(ratio.millionths(row.values));
        }
        // Neither finalized nor adjusted.
        self.flags.append_value(false);
        self.revisions.append_value(row.revision.to_string());
        self.fresh.append_value(self.freshness_seconds);
        if self.fresh.len() == BATCH_ROWS { self.batch() } else { Ok(()) }
    }

    fn batch(&mut self) -> Result<()> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.starts.finish())];
        columns.extend(self.keys.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef));
        columns.extend(self.numbers.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef));
        columns.extend(self.ratios.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef));
        let flags: ArrayRef = Arc::new(self.flags.finish());
        columns.extend([flags.clone(), flags]);
        columns.push(Arc::new(self.revisions.finish()));
        columns.push(Arc::new(self.fresh.finish()));
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        Ok(())
    }

    /// The last rows and the end of the stream.
    pub fn finish(mut self) -> Result<()> {
        if !self.fresh.is_empty() {
            self.batch()?;
        }
        Ok(self.writer.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use adsum_model::catalog::{Catalog, CatalogSpec};
    use adsum_model::id::Revision;
    use adsum_model::time::BucketStart;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Decimal128Type, Int64Type, TimestampMicrosecondType};
    use arrow_ipc::reader::StreamReader;

    use super::super::window::{Granularity, TimeZone};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let catalog = Catalog::build(&CatalogSpec::default()).unwrap();
        let report = Report::of(&catalog, &["country".to_owned()]);
        let zone = TimeZone::named("tz", "Asia/Kathmandu").unwrap();
        let mut bytes = Vec::new();
        let rows = BATCH_ROWS + 2;
        let mut writer = ArrowWriter::new(&report, zone.name(), 3, &mut bytes).unwrap();
        for i in 0..rows as i64 {
            let window = zone.window(BucketStart::from_seconds(60 * i), Granularity::Minute).unwrap();
            let mut values = vec![0; report.metrics.len()];
            (values[0], values[1]) = (3, i);
            let keys = [(i % 2 == 0).then_some("US"), Some("EUR")];
            writer.row(&ReportRow { window, keys: &keys, values: &values, revision: Revision::new(7) }).unwrap();
        }
        writer.finish().unwrap();
        let reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        let names: Vec<String> = reader.schema().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, report.names());
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Asia/Kathmandu".into()));
        assert_eq!(*reader.schema().field(0).data_type(), zoned);
        let mut at = 0;
        for batch in reader {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap();
            for row in 0..batch.num_rows() {
                let i = at as i64;
                let start = column("bucketStart").as_primitive::<TimestampMicrosecondType>().value(row);
                assert_eq!(start, 60 * i * MICROS_PER_SECOND);
                assert_eq!(column("clicks").as_primitive::<Int64Type>().value(row), i);
                let country = column("country").as_string::<i32>();
                assert_eq!(country.iter().nth(row).unwrap(), (i % 2 == 0).then_some("US"));
                let ctr = column("ctr").as_primitive::<Decimal128Type>().value(row);
                assert_eq!(ctr, (i128::from(i) * 2_000_000 + 3) / 6);
                assert!(i > 0 || arrow_array::Array::is_null(column("cvr"), row));
                at += 1;
            }
        }
        assert_eq!(at, rows);
    }
}
