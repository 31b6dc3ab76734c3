use boathouse_base::DomainError;
use boathouse_base::ErrorKind;
use boathouse_featurestore::FeatureLookupSpec;
use datafusion::prelude::{SessionContext, col, lit};

use crate::world::{World, floats, labels, names, weather};

#[tokio::test]
async fn a_frame_of_labels_becomes_a_frame_with_features() {
    let world = World::new();
    world.weather().await;
    world.store.write("weather", weather(&[("JFK", 10, 1.0), ("LGA", 10, 30.0)])).run().await.unwrap();
    let context = SessionContext::new();
    let asked = labels(&[(Some("JFK"), Some(25)), (Some("LGA"), Some(25)), (Some("LGA"), Some(5))]);
    let frame = context.read_batch(asked).unwrap().filter(col("origin").eq(lit("LGA"))).unwrap();
    let set = world.store.training_set(frame).timestamp("departs").lookup(FeatureLookupSpec::new("weather")).run().await.unwrap();
    assert_eq!(set.rows(), 2);
    let windy = set.into_frame(&context).unwrap().filter(col("wind").is_not_null()).unwrap().collect().await.unwrap();
    assert_eq!(names(windy[0].schema_ref()), ["origin", "departs", "wind", "sky"]);
    assert_eq!(floats(&windy[0], "wind"), [Some(30.0)]);
}

#[tokio::test]
async fn a_frame_that_fails_shows_the_engines_reason() {
    let world = World::new();
    world.weather().await;
    let context = SessionContext::new();
    let frame = context.read_batch(labels(&[(Some("JFK"), Some(25))])).unwrap();
    let frame = frame
        .select(vec![col("departs"), datafusion::prelude::cast(col("origin"), arrow_schema::DataType::Int64).alias("origin")]);
    let lookup = FeatureLookupSpec::new("weather");
    let error = world.store.training_set(frame.unwrap()).timestamp("departs").lookup(lookup).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
