import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Topics for the bench, which measures nothing of this.
 *
 * <pre>
 * KafkaTopics BROKERS create PARTITIONS TOPIC...
 * KafkaTopics BROKERS remove PREFIX        all topics whose names begin so
 * KafkaTopics BROKERS count TOPIC          prints committed records and transactions
 * </pre>
 */
public final class KafkaTopics {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        List<String> rest = List.of(args).subList(2, args.length);
        switch (args[1]) {
            case "create" -> {
                int partitions = Integer.parseInt(rest.get(0));
                create(properties, partitions, rest.subList(1, rest.size()));
            }
            case "remove" -> remove(properties, rest.get(0));
            case "count" -> count(properties, rest.get(0));
            default -> throw new IllegalArgumentException(args[1]);
        }
    }

    private static void create(Properties properties, int partitions, List<String> topics)
            throws Exception {
        try (Admin admin = Admin.create(properties)) {
            List<NewTopic> wanted = topics.stream()
                    .map(topic -> new NewTopic(topic, Optional.of(partitions), Optional.empty()))
                    .toList();
            admin.createTopics(wanted).all().get();
        }
    }

    private static void remove(Properties properties, String prefix) throws Exception {
        try (Admin admin = Admin.create(properties)) {
            Set<String> found = admin.listTopics().names().get().stream()
                    .filter(topic -> topic.startsWith(prefix))
                    .collect(Collectors.toSet());
            admin.deleteTopics(found).all().get();
        }
    }

    /** In a topic of one partition, what takes an offset and is no record ends a transaction. */
    private static void count(Properties properties, String topic) {
        properties.put("isolation.level", "read_committed");
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            List<TopicPartition> all = List.of(new TopicPartition(topic, 0));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long end = consumer.endOffsets(all).get(all.get(0));
            long records = 0;
            while (consumer.position(all.get(0)) < end) {
                records += consumer.poll(Duration.ofSeconds(1)).count();
            }
            System.out.println(records + " " + (end - records));
        }
    }
}
