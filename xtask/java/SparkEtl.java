import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.expr;
import static org.apache.spark.sql.functions.monotonically_increasing_id;
import static org.apache.spark.sql.functions.row_number;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.expressions.Window;

/**
 * What the tasks `clean` and `aggregate` do, by Spark: parse a CSV file strictly, send each row
 * that breaks a rule to the rejected ones with the reason, keep the first row of each order in the
 * order of the file, and answer the same questions, as Parquet.
 *
 * <pre>
 * SparkEtl CSV SCHEMA SQL_DIRECTORY OUT QUESTION...
 * </pre>
 *
 * Prints the seconds that it took once Spark was up.
 */
public final class SparkEtl {
    /** The first rule that a row breaks; those of the pipeline, in its order. */
    private static final String REASON = """
            case
                when unparsed is not null then 'unparsed'
                when customer_id is null then 'has_a_customer'
                when price is null then 'has_a_price'
                when not price > 0 then 'price_is_positive'
            end""";

    public static void main(String[] args) throws Exception {
        String csv = args[0], columns = args[1], out = args[3];
        Path sql = Path.of(args[2]);
        SparkSession spark = SparkSession.builder().getOrCreate();
        long start = System.nanoTime();
        clean(spark, csv, columns)
                .write()
                .partitionBy("valid")
                .parquet(out + "/clean");
        spark.read().parquet(out + "/clean/valid=true").createOrReplaceTempView("orders");
        for (String question : List.of(args).subList(4, args.length)) {
            String text = Files.readString(sql.resolve(question + ".sql"));
            spark.sql(text).write().parquet(out + "/" + question);
        }
        System.out.println((System.nanoTime() - start) / 1e9);
        spark.stop();
    }

    private static Dataset<Row> clean(SparkSession spark, String csv, String columns) {
        // Rows that are rejected already take no part in what is a duplicate.
        var first = Window.partitionBy("order_id", "reason").orderBy("line");
        return spark.read()
                .option("header", true)
                .option("columnNameOfCorruptRecord", "unparsed")
                .schema(columns + ", unparsed string")
                .csv(csv)
                .withColumn("reason", expr(REASON))
                .withColumn("line", monotonically_increasing_id())
                .withColumn("place", row_number().over(first))
                .withColumn("reason", expr(
                        "case when reason is null and place > 1 then 'duplicate' else reason end"))
                .withColumn("valid", col("reason").isNull())
                .drop("line", "place");
    }
}
