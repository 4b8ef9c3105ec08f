//! Tells the chores which platform they run on, in cargo's own words. It does nothing else.
fn main() {
    println!("cargo::rustc-env=HOST_PLATFORM={}", std::env::var("HOST").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
}
