import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.hadoop.hbase.thrift.generated.BatchMutation;
import org.apache.hadoop.hbase.thrift.generated.ColumnDescriptor;
import org.apache.hadoop.hbase.thrift.generated.Hbase;
import org.apache.hadoop.hbase.thrift.generated.Mutation;
import org.apache.hadoop.hbase.thrift.generated.TRowResult;
import org.apache.hadoop.hbase.thrift.generated.TScan;
import org.apache.hadoop.hbase.util.Bytes;
import org.apache.thrift.TException;
import org.apache.thrift.protocol.TBinaryProtocol;
import org.apache.thrift.transport.TSocket;

/**
 * Puts by a Java client of HBase's Thrift server, and what is needed around it.
 *
 * <pre>
 * HBaseCells HOST PORT create FAMILIES TABLE...  families separated by commas
 * HBaseCells HOST PORT remove PREFIX             all tables whose names begin so
 * HBaseCells HOST PORT dump TABLE FILE           all rows, a line each
 * HBaseCells HOST PORT put TABLE FILE            the rows of such a file; prints the seconds
 * </pre>
 *
 * A line has the key of a row, then the column and the value of each of its cells, all with tabs
 * between.
 */
public final class HBaseCells {
    private static final int BATCH_ROWS = 1000;
    /** All cells get the same one, as those of `uses: bulk_load` do. */
    private static final long TIMESTAMP = 1_767_225_600_000L;
    private static final Map<ByteBuffer, ByteBuffer> NO_ATTRIBUTES = Map.of();

    public static void main(String[] args) throws Exception {
        // Buffers what it reads and writes by itself.
        try (TSocket socket = new TSocket(args[0], Integer.parseInt(args[1]))) {
            socket.open();
            Hbase.Client client = new Hbase.Client(new TBinaryProtocol(socket));
            switch (args[2]) {
                case "create" -> {
                    List<String> tables = Arrays.asList(args).subList(4, args.length);
                    create(client, args[3].split(","), tables);
                }
                case "remove" -> remove(client, args[3]);
                case "dump" -> dump(client, args[3], Path.of(args[4]));
                case "put" -> put(client, args[3], Path.of(args[4]));
                default -> throw new IllegalArgumentException(args[2]);
            }
        }
    }

    private static void create(Hbase.Client client, String[] families, List<String> tables)
            throws TException {
        List<ColumnDescriptor> descriptors = Stream.of(families)
                .map(family -> new ColumnDescriptor()
                        .setName(Bytes.toBytes(family + ":"))
                        .setMaxVersions(1)
                        .setBloomFilterType("ROW"))
                .toList();
        for (String table : tables) {
            client.createTable(buffer(table), descriptors);
        }
    }

    private static void remove(Hbase.Client client, String prefix) throws TException {
        for (ByteBuffer table : client.getTableNames()) {
            if (text(table).startsWith(prefix)) {
                if (client.isTableEnabled(table)) {
                    client.disableTable(table);
                }
                client.deleteTable(table);
            }
        }
    }

    private static void put(Hbase.Client client, String table, Path file)
            throws IOException, TException {
        long start = System.nanoTime();
        ByteBuffer name = buffer(table);
        List<BatchMutation> batch = new ArrayList<>(BATCH_ROWS);
        try (BufferedReader lines = Files.newBufferedReader(file)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] fields = line.split("\t", -1);
                List<Mutation> cells = new ArrayList<>(fields.length / 2);
                for (int at = 1; at < fields.length; at += 2) {
                    ByteBuffer column = buffer(fields[at]);
                    cells.add(new Mutation(false, column, buffer(fields[at + 1]), true));
                }
                batch.add(new BatchMutation(buffer(fields[0]), cells));
                if (batch.size() == BATCH_ROWS) {
                    client.mutateRowsTs(name, batch, TIMESTAMP, NO_ATTRIBUTES);
                    batch.clear();
                }
            }
        }
        if (!batch.isEmpty()) {
            client.mutateRowsTs(name, batch, TIMESTAMP, NO_ATTRIBUTES);
        }
        System.out.println((System.nanoTime() - start) / 1e9);
    }

    private static void dump(Hbase.Client client, String table, Path file)
            throws IOException, TException {
        TScan scan = new TScan().setCaching(BATCH_ROWS);
        int scanner = client.scannerOpenWithScan(buffer(table), scan, NO_ATTRIBUTES);
        try (BufferedWriter lines = Files.newBufferedWriter(file)) {
            List<TRowResult> rows = client.scannerGetList(scanner, BATCH_ROWS);
            while (!rows.isEmpty()) {
                for (TRowResult row : rows) {
                    lines.write(line(row));
                }
                rows = client.scannerGetList(scanner, BATCH_ROWS);
            }
        }
        client.scannerClose(scanner);
    }

    private static String line(TRowResult row) {
        StringBuilder line = new StringBuilder(Bytes.toString(row.getRow()));
        Map<String, String> cells = new TreeMap<>();
        row.getColumns().forEach(
                (column, cell) -> cells.put(text(column), Bytes.toString(cell.getValue())));
        cells.forEach(
                (column, value) -> line.append('\t').append(column).append('\t').append(value));
        return line.append('\n').toString();
    }

    private static ByteBuffer buffer(String text) {
        return ByteBuffer.wrap(Bytes.toBytes(text));
    }

    private static String text(ByteBuffer buffer) {
        return Bytes.toString(Bytes.getBytes(buffer));
    }
}
