import org.apache.spark.sql.SparkSession;

/** `SparkCount RELATION...` prints how many rows each has: what stands behind `from` in SQL. */
public final class SparkCount {
    public static void main(String[] args) {
        SparkSession spark = SparkSession.builder().getOrCreate();
        for (String relation : args) {
            var counted = spark.sql("select count(*) from " + relation);
            System.out.println(counted.first().getLong(0));
        }
        spark.stop();
    }
}
