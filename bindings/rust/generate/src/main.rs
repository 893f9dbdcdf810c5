//! qz-generate MODEL PROMPT [TOKENS]: the model in the directory writes on, word by word, on stdout.
use std::io::Write;
use tokenizers::Tokenizer;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().collect();
    if words.len() < 3 {
        eprintln!("usage: qz-generate MODEL PROMPT [TOKENS]");
        std::process::exit(2);
    }
    let max_tokens = words.get(3).map_or(Ok(64), |n| n.parse())?;
    let tokenizer = Tokenizer::from_file(format!("{}/tokenizer.json", words[1]))?;
    let context = qz::Context::new(0)?;
    let model = qz::Model::open(&context, &words[1])?;
    let prompt: Vec<i32> = tokenizer
        .encode(words[2].as_str(), true)?
        .get_ids()
        .iter()
        .map(|&id| id as i32)
        .collect();

    // Text is decoded as a whole and its new end printed: a character may need several tokens.
    let (mut written, mut shown) = (Vec::new(), 0);
    let mut failure = None;
    let options = qz::GenerateOptions {
        max_tokens,
        temperature: 0.8,
        top_p: 0.95,
        seed: 1,
        ..Default::default()
    };
    print!("{}", words[2]);
    qz::Session::new(&model, 0)?.generate(&prompt, &options, &mut |token| {
        written.push(token as u32);
        match tokenizer.decode(&written, true) {
            Ok(text) if !text.ends_with('\u{fffd}') => {
                print!("{}", text.get(shown..).unwrap_or(""));
                shown = text.len();
                std::io::stdout().flush().is_ok()
            }
            Ok(_) => true,
            Err(problem) => {
                failure = Some(problem);
                false
            }
        }
    })?;
    println!();
    failure.map_or(Ok(()), Err)
}
