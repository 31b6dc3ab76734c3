//! How good a classifier is: AUC, log-loss, and the ROC curve as a picture.

use std::fmt::Write as _;

/// One point of a ROC curve: (false positive rate, true positive rate).
pub(crate) type RocPoint = (f64, f64);

/// Points of the ROC curve from (0, 0) to (1, 1), one for each distinct score.
///
/// **Source**: Fawcett, "An introduction to ROC analysis", 2006, algorithm 1.
pub(crate) fn roc(scores: &[f64], truths: &[bool]) -> Vec<RocPoint> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let positives = truths.iter().filter(|truth| **truth).count().max(1) as f64;
    let negatives = truths.iter().filter(|truth| !**truth).count().max(1) as f64;
    let (mut hits, mut alarms) = (0.0, 0.0);
    let mut points = vec![(0.0, 0.0)];
    for (nth, &row) in order.iter().enumerate() {
        if truths[row] {
            hits += 1.0;
        } else {
            alarms += 1.0;
        }
        // Equal scores are one threshold: no point between them.
        if order.get(nth + 1).is_none_or(|next| scores[*next] != scores[row]) {
            points.push((alarms / negatives, hits / positives));
        }
    }
    points
}

/// The area under a ROC curve: 0.5 is chance, 1 is perfect.
pub(crate) fn auc(points: &[RocPoint]) -> f64 {
    points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0).sum()
}

/// The mean of −ln(probability given to what happened), in nats. Probabilities are kept 1e-15 away from 0 and 1.
pub(crate) fn log_loss(scores: &[f64], truths: &[bool]) -> f64 {
    let losses = scores.iter().zip(truths).map(|(score, truth)| {
        let score = score.clamp(1e-15, 1.0 - 1e-15);
        -if *truth { score } else { 1.0 - score }.ln()
    });
    losses.sum::<f64>() / scores.len().max(1) as f64
}

/// The curves of several models in one picture (SVG, 480 × 480).
pub(crate) fn roc_svg(title: &str, curves: &[(&str, &[RocPoint])]) -> String {
    const SIZE: f64 = 400.0;
    const LEFT: f64 = 60.0;
    const TOP: f64 = 40.0;
    const COLOURS: [&str; 4] = ["#1f6feb", "#d1570b", "#2da44e", "#8250df"];
    let (x, y) = (|v: f64| LEFT + v * SIZE, |v: f64| TOP + (1.0 - v) * SIZE);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"480\" height=\"490\" viewBox=\"0 0 480 490\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"480\" height=\"490\" fill=\"white\"/>\n",
    );
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{title}</text>");
    for tick in 0..=5 {
        let v = f64::from(tick) / 5.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {TOP}V{:.1}M{LEFT} {:.1}H{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{v:.1}</text><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{v:.1}</text>",
            x(v),
            TOP + SIZE,
            y(v),
            LEFT + SIZE,
            x(v),
            TOP + SIZE + 16.0,
            LEFT - 6.0,
            y(v) + 4.0
        );
    }
    let _ = writeln!(svg, "<path d=\"M{} {}L{} {}\" stroke=\"#999\" stroke-dasharray=\"4\"/>", x(0.0), y(0.0), x(1.0), y(1.0));
    for (nth, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[nth % COLOURS.len()];
        let mut path = String::new();
        let mut last: Option<RocPoint> = None;
        for (i, point) in points.iter().enumerate() {
            // A point nearer than a third of a pixel to the last one cannot be seen.
            let near = last.is_some_and(|l| ((point.0 - l.0).hypot(point.1 - l.1)) * SIZE < 0.33);
            if !near || i + 1 == points.len() {
                let _ = write!(path, "{}{:.1} {:.1}", if last.is_none() { 'M' } else { 'L' }, x(point.0), y(point.1));
                last = Some(*point);
            }
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        let line = TOP + SIZE - 20.0 - 18.0 * nth as f64;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.0} {:.0}h24\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{:.0}\" y=\"{line:.0}\">{name}, AUC {:.3}</text>",
            LEFT + 200.0,
            line - 4.0,
            LEFT + 230.0,
            auc(points)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">false positive rate</text>\
         <text transform=\"translate(16 {:.0}) rotate(-90)\" text-anchor=\"middle\">true positive rate</text>\n</svg>",
        LEFT + SIZE / 2.0,
        TOP + SIZE + 36.0,
        TOP + SIZE / 2.0
    );
    svg
}
