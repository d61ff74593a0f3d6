import hex.genmodel.MojoModel;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * genmodel's own loop over rows that are in memory, without reading or writing: two threads with a model each.
 *
 * <p>{@code java -cp h2o-genmodel.jar Genmodel.java model.zip rows.bin name,name,...}: the file has the columns one after the
 * other, as little-endian doubles. For each line of the standard input it scores all rows and prints the seconds and the answers' sum.
 */
public class Genmodel {
  static final int THREADS = 2;
  static double[] sums = new double[THREADS];

  public static void main(String[] args) throws Exception {
    List<String> names = Arrays.asList(args[2].split(","));
    DoubleBuffer values;
    try (FileChannel file = FileChannel.open(Path.of(args[1]))) {
      ByteBuffer bytes = file.map(FileChannel.MapMode.READ_ONLY, 0, file.size());
      values = bytes.order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer();
    }
    int rows = values.limit() / names.size();
    MojoModel[] models = new MojoModel[THREADS];
    for (int i = 0; i < THREADS; i++) models[i] = MojoModel.load(args[0]);
    score(models, names, values, rows);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    while (lines.readLine() != null) {
      long began = System.nanoTime();
      score(models, names, values, rows);
      System.out.println((System.nanoTime() - began) / 1e9 + " " + Arrays.stream(sums).sum());
    }
  }

  static void score(MojoModel[] models, List<String> names, DoubleBuffer values, int rows) throws Exception {
    Thread[] threads = new Thread[THREADS];
    for (int i = 0; i < THREADS; i++) {
      int number = i;
      threads[i] = new Thread(() -> sums[number] = half(models[number], names, values, rows, number));
      threads[i].start();
    }
    for (Thread thread : threads) thread.join();
  }

  static double half(MojoModel model, List<String> names, DoubleBuffer values, int rows, int number) {
    int[] places = new int[model.nfeatures()];
    for (int i = 0; i < places.length; i++) places[i] = names.indexOf(model.getNames()[i]);
    double[] row = new double[places.length];
    double[] answers = new double[model.getPredsSize()];
    double sum = 0;
    for (int at = number * (rows / THREADS); at < (number + 1) * (rows / THREADS); at++) {
      for (int i = 0; i < row.length; i++) row[i] = values.get(places[i] * rows + at);
      sum += model.score0(row, answers)[0];
    }
    return sum;
  }
}
