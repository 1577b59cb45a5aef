//! Values as TensorBoard's events hold them.

use image::RgbImage;
use protobuf::RepeatedField;
use tensorboard_proto::summary::{Summary_Image, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;
use tensorboard_rs::summary;

use crate::plot::{self, Bins};

/// Numbers, in f32.
pub fn scalars(values: &[(impl AsRef<str>, f64)]) -> Vec<Summary_Value> {
    values.iter().flat_map(|(tag, value)| summary::scalar(tag.as_ref(), *value as f32).take_value().into_iter()).collect()
}

/// A text in Markdown.
pub fn text(tag: &str, markdown: &str) -> Summary_Value {
    let mut dim = TensorShapeProto_Dim::new();
    dim.set_size(1);
    let mut shape = TensorShapeProto::new();
    shape.set_dim(RepeatedField::from_vec(vec![dim]));
    let mut tensor = TensorProto::new();
    tensor.set_dtype(DataType::DT_STRING);
    tensor.set_tensor_shape(shape);
    tensor.set_string_val(RepeatedField::from_vec(vec![markdown.as_bytes().to_vec()]));
    let mut value = of_plugin(tag, "text");
    value.set_tensor(tensor);
    value
}

/// What a plugin of TensorBoard shows.
pub fn of_plugin(tag: &str, name: &str) -> Summary_Value {
    let mut plugin = SummaryMetadata_PluginData::new();
    plugin.set_plugin_name(name.to_owned());
    let mut metadata = SummaryMetadata::new();
    metadata.set_plugin_data(plugin);
    let mut value = Summary_Value::new();
    value.set_tag(tag.to_owned());
    value.set_metadata(metadata);
    value
}

/// A picture.
pub fn image(tag: &str, picture: &RgbImage) -> Summary_Value {
    let mut image = Summary_Image::new();
    image.set_height(picture.height() as i32);
    image.set_width(picture.width() as i32);
    image.set_colorspace(3);
    image.set_encoded_image_string(plot::png(picture));
    let mut value = Summary_Value::new();
    value.set_tag(tag.to_owned());
    value.set_image(image);
    value
}

/// How some numbers are spread.
pub fn histogram(tag: &str, bins: &Bins) -> Vec<Summary_Value> {
    let Bins { low, values, counts, .. } = bins;
    let (sum, squares) = values.iter().fold((0.0, 0.0), |(sum, squares), value| (sum + value, squares + value * value));
    let limits: Vec<f64> = (1..=counts.len()).map(|i| bins.limit(i)).collect();
    let counts: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
    let high = bins.limit(counts.len());
    summary::histogram_raw(tag, *low, high, values.len() as f64, sum, squares, &limits, &counts).take_value().into_iter().collect()
}
