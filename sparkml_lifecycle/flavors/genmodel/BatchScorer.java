package sparkml;

import hex.ModelCategory;
import hex.genmodel.CategoricalEncoding;
import hex.genmodel.MojoModel;
import hex.genmodel.easy.CategoricalEncoder;
import java.io.IOException;
import java.nio.DoubleBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Scores a batch with a MOJO: genmodel itself takes one row at a time, and a call from Python costs more than a row.
 *
 * <p>A batch is one buffer of doubles, column after column, in the order of {@link #features()}; a categorical column
 * holds the index of the level in {@link #domain(int)}, or NaN for a missing or unseen one. Answers are laid out alike.
 */
public final class BatchScorer {
  private static final double UNTOUCHED = -Double.MAX_VALUE;

  private final MojoModel model;
  private final String[] names;
  private final String[][] domains;
  private final int[] positions;
  /** Per column and level (last: missing) what an explicit encoding writes; null for a column taken as it is. */
  private final Cell[][][] encoded;
  private final int answers;
  private final String path;

  private static final class Cell {
    final int position;
    final double value;

    Cell(int position, double value) {
      this.position = position;
      this.value = value;
    }
  }

  public BatchScorer(String path) throws IOException {
    this.path = path;
    model = load(path);
    CategoricalEncoding encoding = model.getCategoricalEncoding();
    boolean explicit = encoding != CategoricalEncoding.AUTO;
    String[] allNames = explicit ? model.getOrigNames() : model.getNames();
    String[][] allDomains = explicit ? model.getOrigDomainValues() : model.getDomainValues();
    Map<String, Integer> mapping = encoding.createColumnMapping(model);
    Map<Integer, CategoricalEncoder> encoders = encoding.createCategoricalEncoders(model, mapping);

    List<Integer> columns = new ArrayList<>();
    for (int i = 0; i < allNames.length; i++) {
      Integer position = mapping.get(allNames[i]);
      boolean offset = allNames[i].equals(model.getOffsetName());
      if (position != null && position < model.nfeatures() && !offset) columns.add(i);
    }
    names = new String[columns.size()];
    domains = new String[names.length][];
    positions = new int[names.length];
    encoded = new Cell[names.length][][];
    for (int j = 0; j < names.length; j++) {
      int i = columns.get(j);
      names[j] = allNames[i];
      domains[j] = allDomains[i];
      positions[j] = mapping.get(names[j]);
      if (explicit && domains[j] != null) encoded[j] = encode(encoders.get(positions[j]), domains[j]);
    }
    answers = outputs().length;
  }

  private static MojoModel load(String path) throws IOException {
    // genmodel finds its readers through the thread's class loader, which is not the one of these jars
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    thread.setContextClassLoader(BatchScorer.class.getClassLoader());
    try {
      return MojoModel.load(path);
    } finally {
      thread.setContextClassLoader(before);
    }
  }

  private Cell[][] encode(CategoricalEncoder encoder, String[] domain) {
    Cell[][] cells = new Cell[domain.length + 1][];
    double[] raw = new double[model.nfeatures()];
    for (int level = 0; level <= domain.length; level++) {
      Arrays.fill(raw, UNTOUCHED);
      if (level == domain.length || !encoder.encodeCatValue(domain[level], raw)) encoder.encodeNA(raw);
      List<Cell> touched = new ArrayList<>();
      for (int k = 0; k < raw.length; k++) if (raw[k] != UNTOUCHED) touched.add(new Cell(k, raw[k]));
      cells[level] = touched.toArray(new Cell[0]);
    }
    return cells;
  }

  public String[] features() {
    return names;
  }

  public String[] domain(int feature) {
    return domains[feature];
  }

  /** The column that is added to the score on the scale of the link, or null. */
  public String offset() {
    return model.getOffsetName();
  }

  public String category() {
    return model.getModelCategory().name();
  }

  public String algorithm() {
    return model._algoName;
  }

  public String version() {
    return model._h2oVersion;
  }

  public String response() {
    return model.isSupervised() ? model.getResponseName() : null;
  }

  /** The columns of H2O's own answer, where genmodel's differ in two cases; none for a model that answers no rows. */
  public String[] outputs() {
    if (model.getModelCategory() == ModelCategory.Clustering) return new String[] {"predict"};
    if (quasibinomial()) return new String[] {"predict", "p0", "p1"};
    try {
      return model.getOutputNames();
    } catch (UnsupportedOperationException e) {
      return new String[0];
    }
  }

  /** The labels of an output that is an index of one, else null. */
  public String[] labels(int output) {
    if (quasibinomial()) return output == 0 ? new String[] {"0", "1"} : null;
    return model.getOutputDomains()[output];
  }

  /** Two classes that were given as numbers: the response has no levels. */
  private boolean quasibinomial() {
    return model.getModelCategory() == ModelCategory.Binomial && model.getDomainValues(model.getResponseIdx()) == null;
  }

  /** The model's trees, or null where it has none that are known. */
  public Trees trees() throws IOException {
    return Trees.known(model) ? new Trees(model, path) : null;
  }

  /** Where each of {@link #features()} is among the columns of the model itself. */
  public int[] positions() {
    return positions;
  }

  /** What an explicit encoding makes of a feature's levels (last: missing), a row of positions to each; else null. */
  public int[][] encodedPositions(int feature) {
    if (encoded[feature] == null) return null;
    int[][] found = new int[encoded[feature].length][];
    for (int level = 0; level < found.length; level++)
      found[level] = Arrays.stream(encoded[feature][level]).mapToInt(cell -> cell.position).toArray();
    return found;
  }

  /** The values at {@link #encodedPositions(int)}. */
  public double[][] encodedValues(int feature) {
    if (encoded[feature] == null) return null;
    double[][] found = new double[encoded[feature].length][];
    for (int level = 0; level < found.length; level++)
      found[level] = Arrays.stream(encoded[feature][level]).mapToDouble(cell -> cell.value).toArray();
    return found;
  }

  public boolean calibrated() {
    double[] probe = {0, 0.5, 0.5};
    return model.getModelCategory() == ModelCategory.Binomial && model.calibrateClassProbabilities(probe);
  }

  /**
   * Scores {@code rows} rows.
   *
   * @param in the features, then the offset if there is one; column-major
   * @param out the outputs, then the calibrated probabilities if there are any; column-major
   */
  public synchronized void score(DoubleBuffer in, DoubleBuffer out, int rows) {
    // synchronized: GAM and GLRM keep state in the model while they score a row
    boolean offset = offset() != null;
    boolean calibrated = calibrated();
    double[] raw = new double[model.nfeatures()];
    double[] preds = new double[Math.max(model.getPredsSize(model.getModelCategory()), answers)];
    for (int row = 0; row < rows; row++) {
      Arrays.fill(raw, Double.NaN);
      for (int j = 0; j < names.length; j++) {
        double value = in.get(j * rows + row);
        if (encoded[j] == null) {
          raw[positions[j]] = value;
        } else {
          int level = Double.isNaN(value) ? domains[j].length : (int) value;
          for (Cell cell : encoded[j][level]) raw[cell.position] = cell.value;
        }
      }
      double[] scored =
          offset ? model.score0(raw, in.get(names.length * rows + row), preds) : model.score0(raw, preds);
      for (int k = 0; k < answers; k++) out.put(k * rows + row, scored[k]);
      if (calibrated) {
        model.calibrateClassProbabilities(scored);
        for (int k = 1; k < answers; k++) out.put((answers + k - 1) * rows + row, scored[k]);
      }
    }
  }
}
