//! Vectors in files of separated values.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arrays::Vectors;
use super::{Split, Summary, open_file};
use crate::error::{Error, Fault, Result};

/// `[data.csv]`: two files with a vector on each line, kept in memory as f32. Empty lines, and those that begin with #, are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// The file to train on; relative to the experiment's folder or else to the working directory.
    pub train: PathBuf,
    /// The file to measure.
    pub test: PathBuf,
    /// Whether the first line has the names of the columns. Without, their names are "1", "2", ...
    pub header: bool,
    /// What stands between two values, one ASCII character such as ";" or "\t". Left out, ",".
    #[serde(default = "comma", skip_serializing_if = "is_comma")]
    pub separator: char,
    /// The columns of the vectors, in this order. Left out, all but that of the labels, in the file's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The column with the class of each vector, a word or a number. Classes are those of the file to train on, in the order of the alphabet, or
    /// of size where all are numbers. Left out, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// What vectors are divided by for model space, above 0.
    pub scale: f64,
}

const CURE: &str = "a file with one vector on each line is wanted, its numbers with a point and between them data.csv.separator";

fn comma() -> char {
    ','
}

fn is_comma(separator: &char) -> bool {
    *separator == ','
}

/// What the columns of a file are.
struct Columns {
    names: Vec<String>,
    /// The places of the vectors' columns.
    chosen: Vec<usize>,
    labels: Option<usize>,
}

/// A file's vectors, and the words of its classes.
struct Table {
    values: Array2<f32>,
    classes: Vec<String>,
}

impl Csv {
    pub fn check(&self) -> Result<(), Fault> {
        if !self.separator.is_ascii() || matches!(self.separator, '"' | '\n' | '\r') {
            let help = "give one ASCII character, such as \",\", \";\" or \"\\t\"";
            return Err(Fault::new("separator", format!("separator is {:?}", self.separator), help));
        }
        match &self.columns {
            Some(columns) if columns.is_empty() => Err(Fault::new("columns", "there are no columns", "give some, or remove it")),
            Some(columns) if self.labels.as_ref().is_some_and(|labels| columns.contains(labels)) => {
                Err(Fault::new("columns", "they hold the column of the labels", "take it out of them, or remove labels"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn open(&self, split: Split) -> Result<Vectors> {
        Ok(Vectors { values: self.read(split)?.values, log_density: Box::new(|_| None) })
    }

    /// Reads the file as a whole: nothing else tells how many vectors it has.
    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let Table { values, .. } = self.read(split)?;
        Ok(Summary { shape: vec![values.ncols()], len: values.nrows(), note: None, bytes: 4 * values.len() as u64 })
    }

    /// The class of each vector; none without labels.
    pub(super) fn labels(&self, split: Split) -> Result<Vec<u32>> {
        let names = self.class_names()?;
        let class = |word: &String| match names.iter().position(|name| name == word) {
            Some(class) => Ok(class as u32),
            None => {
                let message = format!("has the class {word}, which {} has not", self.train.display());
                Err(Error::data(split.of(&self.train, &self.test), message, "train with all classes, or take it away"))
            }
        };
        self.read(split)?.classes.iter().map(class).collect()
    }

    /// The names of the classes, in their order.
    pub fn class_names(&self) -> Result<Vec<String>> {
        let names: BTreeSet<String> = self.read(Split::Train)?.classes.into_iter().collect();
        let mut names: Vec<String> = names.into_iter().collect();
        if let Ok(numbers) = names.iter().map(|name| name.parse::<f64>()).collect::<Result<Vec<f64>, _>>() {
            let mut order: Vec<(f64, String)> = numbers.into_iter().zip(names).collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            names = order.into_iter().map(|(_, name)| name).collect();
        }
        Ok(names)
    }

    fn read(&self, split: Split) -> Result<Table> {
        let path = split.of(&self.train, &self.test);
        let file = open_file(path, "bring it there, or correct the path")?;
        let mut lines = ReaderBuilder::new()
            .has_headers(false)
            .delimiter(self.separator as u8)
            .trim(Trim::All)
            .comment(Some(b'#'))
            .from_reader(std::io::BufReader::new(file))
            .into_records();
        let mut line = || lines.next().transpose().map_err(|error| unreadable(path, &error));
        let wrong = |message: String| Error::data(path, message, CURE);
        let first = line()?.ok_or_else(|| wrong("the file is empty".into()))?;
        let columns = self.columns(path, &first)?;
        let mut table = Table { values: Array2::zeros((0, 0)), classes: Vec::new() };
        let mut values: Vec<f32> = Vec::new();
        let mut next = if self.header { line()? } else { Some(first) };
        while let Some(record) = next {
            columns.read(&record, &mut values, &mut table.classes).map_err(wrong)?;
            next = line()?;
        }
        let d = columns.chosen.len();
        if values.is_empty() {
            return Err(wrong("holds no vectors".into()));
        }
        table.values = Array2::from_shape_vec((values.len() / d, d), values).expect("whole lines were read");
        Ok(table)
    }

    fn columns(&self, path: &Path, first: &StringRecord) -> Result<Columns> {
        let name = |(i, name): (usize, &str)| if self.header { name.to_owned() } else { (i + 1).to_string() };
        let names: Vec<String> = first.iter().enumerate().map(name).collect();
        let place = |wanted: &String| {
            names
                .iter()
                .position(|name| name == wanted)
                .ok_or_else(|| Error::data(path, format!("has no column {wanted}"), format!("its columns are {}", names.join(", "))))
        };
        let labels = self.labels.as_ref().map(place).transpose()?;
        let chosen = match &self.columns {
            Some(columns) => columns.iter().map(place).collect::<Result<_>>()?,
            None => (0..names.len()).filter(|i| Some(*i) != labels).collect::<Vec<_>>(),
        };
        match chosen.is_empty() {
            true => Err(Error::data(path, "has no column but that of the labels", CURE)),
            false => Ok(Columns { names, chosen, labels }),
        }
    }
}

impl Columns {
    fn read(&self, record: &StringRecord, values: &mut Vec<f32>, classes: &mut Vec<String>) -> Result<(), String> {
        let line = record.position().map_or(0, csv::Position::line);
        for &i in &self.chosen {
            let (word, name) = (&record[i], &self.names[i]);
            match word.parse::<f32>() {
                Ok(value) if value.is_finite() => values.push(value),
                _ => return Err(format!("line {line}, column {name}: `{word}` is no finite number")),
            }
        }
        classes.extend(self.labels.map(|i| record[i].to_owned()));
        Ok(())
    }
}

fn unreadable(path: &Path, error: &csv::Error) -> Error {
    let line = |pos: &Option<csv::Position>| pos.as_ref().map_or(0, csv::Position::line);
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            format!("line {} has {len} values, and the first has {expected_len}", line(pos))
        }
        csv::ErrorKind::Utf8 { pos, .. } => format!("line {} is no text", line(pos)),
        _ => format!("can't be read: {error}"),
    };
    Error::data(path, message, CURE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Vectors, classes and their names.
    type Found = (Array2<f32>, Vec<u32>, Vec<String>);

    fn read(text: &[u8], keys: &str) -> Result<Found, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, text).unwrap();
        let set: Csv = toml::from_str(&format!("train = {path:?}\ntest = {path:?}\nscale = 1.0\n{keys}")).unwrap();
        set.check().map_err(|fault| fault.key)?;
        let open = || Ok((set.open(Split::Test)?.values, set.labels(Split::Test)?, set.class_names()?));
        open().map_err(|error: Error| error.to_string())
    }

    #[test]
    fn columns_are_chosen_by_name_or_place() {
        let text = b"x, y ,kind\n1,2,dog\n# a remark\n\n3.5,-4e1,\"cat\"\n0,1,dog\n";
        let (values, labels, names) = read(text, "header = true\nlabels = 'kind'").unwrap();
        assert_eq!(values, ndarray::array![[1.0, 2.0], [3.5, -40.0], [0.0, 1.0]]);
        assert_eq!((labels, names), (vec![1, 0, 1], vec!["cat".to_owned(), "dog".to_owned()]));
        let (values, labels, _) = read(text, "header = true\ncolumns = ['y', 'x', 'y']").unwrap();
        assert_eq!((values.row(1).to_vec(), labels), (vec![-40.0, 3.5, -40.0], vec![]));
        let (values, labels, names) = read(b"10;1\n2;2\n9;3\n", "header = false\nseparator = ';'\nlabels = '1'").unwrap();
        assert_eq!((values.column(0).to_vec(), labels), (vec![1.0, 2.0, 3.0], vec![2, 0, 1]));
        assert_eq!(names, ["2", "9", "10"]);
    }

    #[test]
    fn each_defect_has_its_own_message() {
        let cases: [(&[u8], &str, &str); 12] = [
            (b"", "header = false", "the file is empty"),
            (b"x,y\n", "header = true", "holds no vectors"),
            (b"1,2\n3\n", "header = false", "line 2 has 1 values, and the first has 2"),
            (b"1,2\n3,4,5\n", "header = false", "line 2 has 3 values"),
            (b"x,y\n1,2\n3,\n", "header = true", "line 3, column y: `` is no finite number"),
            (b"x,y\n1,2\n3,nan\n", "header = true", "line 3, column y: `nan` is no finite number"),
            (b"x,y\n1,1e99\n", "header = true", "line 2, column y: `1e99` is no finite number"),
            (b"x,y\n1,2\n", "header = false", "line 1, column 1: `x` is no finite number"),
            (b"1,2\n\xff,3\n", "header = false", "line 2 is no text"),
            (b"x,y\n1,2\n", "header = true\ncolumns = ['z']", "has no column z"),
            (b"x,y\n1,2\n", "header = true\nlabels = '2'", "has no column 2"),
            (b"x\n1\n", "header = true\nlabels = 'x'", "has no column but that of the labels"),
        ];
        for (text, keys, message) in cases {
            let error = read(text, keys).unwrap_err();
            assert!(error.contains("x.csv: ") && error.contains(message), "`{error}` does not say `{message}`");
        }
        for (keys, key) in [
            ("header = true\nseparator = 'é'", "separator"),
            ("header = true\ncolumns = []", "columns"),
            ("header = true\nlabels = 'x'\ncolumns = ['x']", "columns"),
        ] {
            assert_eq!(read(b"x\n1\n", keys).unwrap_err(), key);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (read(&bytes, "header = true\nlabels = '1'"), read(&bytes, "header = false"));
        }
    }
}
