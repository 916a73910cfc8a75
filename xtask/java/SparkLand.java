import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.from_csv;
import static org.apache.spark.sql.functions.lit;

import java.util.Map;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.Trigger;

/**
 * What `uses: land` does, by Spark Structured Streaming: all messages of a topic, CSV records, as
 * typed rows of Parquet files, with a checkpoint. A message that does not parse becomes a row of
 * nulls with its text in `dead_letter`.
 *
 * <pre>
 * SparkLand BROKERS TOPIC SCHEMA OUT CHECKPOINT
 * </pre>
 *
 * Prints the seconds that it took once Spark was up.
 */
public final class SparkLand {
    public static void main(String[] args) throws Exception {
        String brokers = args[0], topic = args[1], columns = args[2], out = args[3];
        String checkpoint = args[4];
        SparkSession spark = SparkSession.builder().getOrCreate();
        long start = System.nanoTime();
        StreamingQuery query = spark.readStream()
                .format("kafka")
                .option("kafka.bootstrap.servers", brokers)
                .option("kafka.isolation.level", "read_committed")
                .option("subscribe", topic)
                .option("startingOffsets", "earliest")
                .load()
                .select(from_csv(
                        col("value").cast("string"),
                        lit(columns + ", dead_letter string"),
                        Map.of("columnNameOfCorruptRecord", "dead_letter"))
                        .as("row"))
                .select("row.*")
                .writeStream()
                .format("parquet")
                .option("path", out)
                .option("checkpointLocation", checkpoint)
                .trigger(Trigger.AvailableNow())
                .start();
        query.awaitTermination();
        System.out.println((System.nanoTime() - start) / 1e9);
        spark.stop();
    }
}
