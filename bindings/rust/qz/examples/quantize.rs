//! Quantizes a model with text that it writes itself and measures what that cost.
//! cargo run --example quantize -- MODEL OUT
fn main() -> Result<(), qz::Error> {
    let words: Vec<String> = std::env::args().collect();
    if words.len() != 3 {
        eprintln!("usage: quantize MODEL OUT");
        std::process::exit(2);
    }
    let context = qz::Context::new(0)?;
    let model = qz::Model::open(&context, &words[1])?;
    let mut calibration = qz::Calibration::new(&context)?;
    calibration.add_generated(&model, 32, 128, 0)?;

    let mut plan = qz::Plan::new(&model)?;
    plan.add_rule(
        "*",
        qz::Method::GPTQ,
        Some(&qz::Scheme::preset("w4g128")?),
        None,
    )?;
    let mut told = |p: &qz::Progress<'_>| {
        eprint!("\r{:3.0} % {:12}", 100.0 * p.fraction, p.phase);
        true
    };
    let small = plan.run(
        Some(&calibration),
        &qz::RunOptions::new().stream_to(&words[2]).overwrite(),
        Some(&mut told),
    )?;
    eprintln!();

    let before: u64 = small.report().map(|m| m.bytes_before).sum();
    let after: u64 = small.report().map(|m| m.bytes_after).sum();
    let mut text = qz::Calibration::new(&context)?;
    text.add_generated(&model, 8, 256, 1)?;
    let judged = qz::perplexity(&small, Some(&model), &text, 0)?;
    println!(
        "{} modules, {} -> {} bytes",
        small.report().count(),
        before,
        after
    );
    println!(
        "perplexity {:.3}, KL {:.4} nats over {} tokens",
        judged.perplexity, judged.kl_to_reference, judged.tokens
    );
    Ok(())
}
