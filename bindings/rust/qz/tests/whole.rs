//! The whole way on the model that ships with the project: open, quantize, save, verify, measure, write; and what must not
//! be possible.
use qz::{
    Calibration, Context, Format, Method, Model, Packed, Plan, RunOptions, Scheme, Session, Status,
};
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..")
}
fn sample() -> String {
    std::env::var("QZ_SAMPLE")
        .unwrap_or_else(|_| root().join("examples/llama-1m").display().to_string())
}
fn scratch(name: &str) -> String {
    let dir = std::env::temp_dir().join(format!("qz-rust-{}-{}", std::process::id(), name));
    let _ = std::fs::remove_dir_all(&dir);
    dir.display().to_string()
}

#[test]
fn quantize_save_verify_measure() {
    let context = Context::new(2).unwrap();
    let model = Model::open(&context, &sample()).unwrap();
    assert_eq!(model.info().arch, "llama");
    let modules: Vec<_> = model.modules().collect();
    assert_eq!(modules.len() as i64, 7 * model.info().layers + 1);
    assert_eq!(modules.last().unwrap().role, "head");

    let mut text = Calibration::new(&context).unwrap();
    text.add_generated(&model, 8, 64, 3).unwrap();
    text.add_tokens(&[5, 6, 7]).unwrap();
    assert_eq!(
        (text.tokens(), text.sequences().last().unwrap()),
        (8 * 64 + 3, &[5, 6, 7][..])
    );

    let out = scratch("out");
    let small = qz::gptq(
        &model,
        &text,
        &Scheme::preset("w4g128").unwrap(),
        &RunOptions::new().stream_to(&out),
    )
    .unwrap();
    assert!(small
        .report()
        .all(|m| m.bits == 4 && !m.fell_back && m.output_error < m.rtn_output_error * 1.5));
    assert!(small.verify(&out).unwrap().contains("\"findings\""));
    let judged = qz::perplexity(&small, Some(&model), &text, 64).unwrap();
    assert!(
        judged.kl_to_reference > 0.0 && judged.kl_to_reference < 1.0 && judged.perplexity > 1.0
    );

    let again = scratch("gptq");
    small.save(&again, Format::GPTQ, false, None).unwrap();
    let read = Model::open(&context, &again).unwrap();
    assert_eq!(read.info().format, Format::GPTQ);
    drop(context); // handles keep what they need

    let mut session = Session::new(&read, 0).unwrap();
    let mut tokens = Vec::new();
    let options = qz::GenerateOptions {
        max_tokens: 8,
        greedy: true,
        ..Default::default()
    };
    session
        .generate(&[1, 2, 3], &options, &mut |t| {
            tokens.push(t);
            true
        })
        .unwrap();
    assert!(!tokens.is_empty());
    session.reset().unwrap();
    let logits = session
        .logits(&[1, 2, 3], read.info().vocab as usize)
        .unwrap();
    let best = (0..logits.len())
        .max_by(|&a, &b| logits[a].partial_cmp(&logits[b]).unwrap())
        .unwrap();
    assert_eq!(best as i32, tokens[0]);
    session.reset().unwrap();
    session.set_products(qz::Products::INT8).unwrap();
    let rounded = session
        .logits(&[1, 2, 3], read.info().vocab as usize)
        .unwrap();
    assert_ne!(rounded, logits);
    let status = session.set_products(qz::Products(7)).unwrap_err().status;
    assert_eq!(status, Status::InvalidArgument);
    for dir in [out, again] {
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn failures_have_a_status_and_words() {
    let context = Context::new(1).unwrap();
    let missing = Model::open(&context, "/nowhere").unwrap_err();
    assert_eq!(missing.status, Status::Io);
    assert!(missing.text.contains("/nowhere") && !missing.text.contains('\n'));
    assert_eq!(
        Scheme::preset("w99").err().unwrap().status,
        Status::InvalidArgument
    );
    assert!(Model::open(&context, "a\0b")
        .unwrap_err()
        .text
        .contains("zero byte"));
    let model = Model::open(&context, &sample()).unwrap();
    let mut plan = Plan::new(&model).unwrap();
    let nothing = plan
        .add_rule("nothing.*", Method::KEEP, None, None)
        .unwrap_err();
    assert!(nothing.text.contains("matches none"));
    assert!(plan.to_json().unwrap().contains("rules"));
}

#[test]
fn progress_cancels_and_a_panic_comes_through() {
    let context = Context::new(1).unwrap();
    let model = Model::open(&context, &sample()).unwrap();
    let mut text = Calibration::new(&context).unwrap();
    text.add_generated(&model, 4, 64, 0).unwrap();
    let plan = Plan::new(&model).unwrap();
    let mut calls = 0;
    let stopped = plan.run(
        Some(&text),
        &RunOptions::new(),
        Some(&mut |p| {
            calls += 1;
            assert!((0.0..=1.0).contains(&p.fraction));
            false
        }),
    );
    assert_eq!(stopped.unwrap_err().status, Status::Cancelled);
    assert_eq!(calls, 1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = plan.run(
            Some(&text),
            &RunOptions::new(),
            Some(&mut |_| panic!("mine")),
        );
    }));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "mine");
}

#[test]
fn a_matrix_survives_its_grid() {
    let context = Context::new(1).unwrap();
    let weight: Vec<f32> = (0..16 * 32)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
        .collect();
    let packed = Packed::round(&context, &weight, 16, 32, &Scheme::preset("w8").unwrap()).unwrap();
    let back = packed.dequantize(16, 32).unwrap();
    assert!(weight.iter().zip(&back).all(|(a, b)| (a - b).abs() < 0.01));
    assert!(Packed::round(&context, &weight, 16, 31, &Scheme::preset("w8").unwrap()).is_err());
}

#[cfg(feature = "ndarray")]
#[test]
fn arrays_are_viewed() {
    let context = Context::new(1).unwrap();
    let weight = ndarray::Array2::from_shape_fn((8, 32), |(r, c)| (r as f32 - c as f32) / 40.0);
    let packed =
        Packed::round_array(&context, weight.view(), &Scheme::preset("w8").unwrap()).unwrap();
    let mut back = ndarray::Array2::zeros((8, 32));
    packed.dequantize_into(back.view_mut()).unwrap();
    assert!((&weight - &back).iter().all(|d| d.abs() < 0.01));
    let turned = Packed::round_array(&context, weight.t(), &Scheme::preset("w8tensor").unwrap());
    assert!(turned.is_ok());
}

#[test]
fn estimates_and_devices() {
    let context = Context::new(1).unwrap();
    let devices = context.devices().unwrap();
    assert!(devices[0].kind == 1 && devices[0].memory_free <= devices[0].memory_total);
    let config = root().join("tests/data/configs/qwen3-8b");
    if config.is_dir() {
        let model = Model::open_config(&context, &config.display().to_string()).unwrap();
        let plain = model.estimate(&qz::MemoryQuery::default()).unwrap();
        let small = model
            .estimate(&qz::MemoryQuery {
                weights: Some("w4g128".into()),
                ..Default::default()
            })
            .unwrap();
        assert_eq!(plain.weights, 2 * 8_190_735_360);
        assert!(
            small.weights + small.scales < plain.weights / 2 && small.kv_cache == plain.kv_cache
        );
    }
}

#[test]
fn handles_go_between_threads() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<Context>();
    sync::<Context>();
    send::<Model>();
    sync::<Model>();
    send::<Plan>();
    send::<Session>();
    let context = Context::new(1).unwrap();
    let model = Model::open(&context, &sample()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(model.modules().count() > 0));
        }
    });
}
