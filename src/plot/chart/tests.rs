use super::*;
use crate::plot::Bins;

fn sheet(layers: Vec<Layer>) -> Sheet {
    let chart = Chart { title: "a title".into(), x: Axis::linear("step"), y: Axis::linear("loss"), layers, square: false };
    Sheet::of(chart, (400, 300))
}

/// The colours that are drawn of a layer, in the order of their pixels.
fn count(picture: &RgbImage, RGBColor(r, g, b): RGBColor) -> usize {
    picture.pixels().filter(|pixel| pixel.0.iter().zip([r, g, b]).all(|(&x, y)| x.abs_diff(y) < 12)).count()
}

#[test]
fn a_line_is_where_its_points_are_and_parted_where_one_is_missing() {
    let line = |points: Vec<[f64; 2]>| sheet(vec![Layer::Line(Line::named("a", 0, points))]).picture();
    let whole = line((0..100).map(|i| [i as f64, 1.0]).collect());
    let parted = line((0..100).map(|i| [i as f64, if (40..60).contains(&i) { f64::NAN } else { 1.0 }]).collect());
    let [whole, parted] = [whole, parted].map(|picture| count(&picture, PALETTE[0]));
    let share = parted as f64 / whole as f64;
    assert!((share - 0.8).abs() < 0.05, "{parted} of {whole} pixels");
}

#[test]
fn every_layer_is_drawn_as_pixels_and_as_vectors() {
    let heat = Heat { values: vec![0.0, 1.0, f64::NAN, 2.0], columns: 2, x: [0.0, 1.0], y: [0.0, 1.0] };
    let layers: Vec<(Layer, RGBColor, &str)> = vec![
        (Layer::Line(Line::named("b", 2, vec![[0.0, 0.0], [1.0, 1.0]])), PALETTE[2], "#009E73"),
        (Layer::Heat(heat), PALETTE[0], "#0072B2"),
        (Layer::Arrows(vec![[[0.0, 0.0], [1.0, 1.0]]]), PALETTE[1], "#D55E00"),
        (Layer::Bars(Bins::new(&[0.0, 1.0, 1.0], 2)), PALETTE[1], "#0072B2"),
        (Layer::Intervals(vec![[0.0, 1.0, 0.5], [1.0, 2.0, 0.2]]), PALETTE[0], "#0072B2"),
    ];
    for (layer, colour, hex) in layers {
        let sheet = sheet(vec![layer]);
        assert!(count(&sheet.picture(), colour) > 20, "{hex}");
        let svg = sheet.svg();
        assert!(svg.contains(hex) && svg.contains("a title"), "{hex}: {svg}");
    }
}

#[test]
fn bars_are_as_high_as_their_counts() {
    let picture = sheet(vec![Layer::Bars(Bins::new(&[0.0, 0.1, 0.2, 1.0], 2))]).picture();
    let high = |share: f64| {
        let column = |y| picture.get_pixel((f64::from(picture.width()) * share) as u32, y).0;
        (0..picture.height()).filter(|&y| i32::from(column(y)[2]) - i32::from(column(y)[0]) > 60).count() as f64
    };
    let ratio = high(0.35) / high(0.8);
    assert!((ratio - 3.0).abs() < 0.1, "{ratio}");
    assert_eq!(sheet(vec![Layer::Bars(Bins::new(&[], 30))]).picture().dimensions(), (400, 300));
}

#[test]
fn a_square_chart_has_one_scale_for_both_axes() {
    let chart = Chart {
        title: String::new(),
        x: Axis::linear("x"),
        y: Axis::linear("y"),
        layers: vec![Layer::Dots(vec![[0.0, 0.0], [10.0, 1.0]])],
        square: true,
    };
    let [x, y] = chart.ends();
    assert!((x.end - x.start - (y.end - y.start)).abs() < 1e-12 && x.contains(&10.0) && y.contains(&1.0));
}

#[test]
fn a_sheet_without_numbers_is_still_one() {
    let chart = || Chart { title: "none".into(), x: Axis::logarithmic("x"), y: Axis::linear("y"), layers: vec![], square: false };
    let sheet = Sheet { charts: vec![chart(), chart(), chart()], columns: 2, size: (300, 200) };
    assert_eq!(sheet.picture().dimensions(), (600, 400));
    assert!(!sheet.inline_svg().contains("#FFFFFF") && sheet.svg().contains("#FFFFFF"));
}
