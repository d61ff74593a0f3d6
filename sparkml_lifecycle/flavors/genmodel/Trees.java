package sparkml;

import biz.k11i.xgboost.gbm.GBTree;
import biz.k11i.xgboost.gbm.GradBooster;
import biz.k11i.xgboost.tree.RegTree;
import biz.k11i.xgboost.tree.RegTreeNode;
import hex.genmodel.MojoModel;
import hex.genmodel.algos.drf.DrfMojoModel;
import hex.genmodel.algos.gbm.GbmMojoModel;
import hex.genmodel.algos.tree.SharedTreeMojoModel;
import hex.genmodel.algos.tree.SharedTreeNode;
import hex.genmodel.algos.tree.SharedTreeSubgraph;
import hex.genmodel.algos.xgboost.XGBoostJavaMojoModel;
import hex.genmodel.algos.xgboost.XGBoostMojoModel;
import hex.genmodel.utils.GenmodelBitSet;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/** The trees of a GBM, DRF or XGBoost MOJO as flat arrays, and what makes answers out of their sums. */
public final class Trees {
  private final MojoModel model;
  private final String[][] domains;

  /** Nodes, parents before children; children count from the tree's root, and a leaf has none (-1). */
  public int[] left = new int[1024];

  public int[] right = new int[1024];
  public int[] column = new int[1024];
  public float[] cut = new float[1024];
  public float[] value = new float[1024];
  public boolean[] missingRight = new boolean[1024];
  /** Where the node's set of codes that go right begins in {@link #sets}, a bit to a code; -1 without one. */
  public long[] setAt = new long[1024];

  public byte[] sets = new byte[1024];
  /** Per tree, in the order in which sums are made: where its nodes end, and which sum it adds to. */
  public long[] end = new long[16];

  public int[] output = new int[16];

  /** XGBoost's: its objective, its base, and how one column becomes several. */
  public String objective;

  public double base;
  public int[] offsets = {};
  public boolean sparse;
  public boolean allLevels;

  private int nodes;
  private int trees;
  private int setBytes;
  private int root;

  Trees(MojoModel model, String path) throws IOException {
    this.model = model;
    domains = model.getDomainValues();
    if (model instanceof XGBoostMojoModel) readXGBoost((XGBoostMojoModel) model, path);
    else readShared((SharedTreeMojoModel) model);
    trim();
  }

  static boolean known(MojoModel model) {
    String name = model._algoName;
    return "gbm".equals(name) || "drf".equals(name) || "xgboost".equals(name);
  }

  // -- GBM and DRF --------------------------------------------------------------------------------------------------

  private void readShared(SharedTreeMojoModel shared) {
    if (shared._mojo_version < 1.2) throw new UnsupportedOperationException("a MOJO of the version " + shared._mojo_version);
    int perGroup = shared.getNTreesPerGroup();
    for (int group = 0; group < shared.getNTreeGroups(); group++) {
      int k = 0;
      for (SharedTreeSubgraph tree : shared.computeGraph(group).subgraphArray) {
        root = nodes;
        add(tree.rootNode);
        finish(k++);
      }
      if (k != perGroup) throw new UnsupportedOperationException("a class without a tree");
    }
  }

  private int add(SharedTreeNode node) {
    int at = next();
    if (node.isLeaf()) {
      value[at] = node.getPredValue();
      return at - root;
    }
    column[at] = node.getColId();
    missingRight[at] = !node.isLeftward();
    String[] domain = domains[node.getColId()];
    if (domain == null) {
      if (node.getBs() != null) throw new UnsupportedOperationException("a set of a column of numbers");
      cut[at] = node.isNaVsRest() ? Float.NaN : node.getSplitValue();
    } else {
      setAt[at] = addSet(node, domain.length);
    }
    int below = add(node.getLeftChild());
    int above = add(node.getRightChild());
    left[at] = below;
    right[at] = above;
    return at - root;
  }

  private long addSet(SharedTreeNode node, int size) {
    int at = setBytes;
    setBytes += (size + 7) >> 3;
    if (setBytes > sets.length) sets = Arrays.copyOf(sets, Math.max(setBytes, 2 * sets.length));
    GenmodelBitSet bits = node.getBs();
    for (int code = 0; code < size && !node.isNaVsRest(); code++) {
      boolean goes =
          bits == null
              ? code >= node.getSplitValue()
              : bits.isInRange(code) ? bits.contains(code) : !node.isLeftward();
      if (goes) sets[at + (code >> 3)] |= 1 << (code & 7);
    }
    return at;
  }

  // -- XGBoost ------------------------------------------------------------------------------------------------------

  private void readXGBoost(XGBoostMojoModel xgboost, String path) throws IOException {
    biz.k11i.xgboost.Predictor predictor = XGBoostJavaMojoModel.makePredictor(entry(path, "boosterBytes"), null);
    GradBooster booster = predictor.getBooster();
    if (booster.getClass() != GBTree.class || xgboost._mojo_version < 1.1)
      throw new UnsupportedOperationException("a booster of the kind " + xgboost._boosterType);
    objective = predictor.getObjName();
    base = predictor.getBaseScore();
    offsets = xgboost._catOffsets == null ? new int[] {0} : xgboost._catOffsets;
    sparse = xgboost._sparse;
    allLevels = xgboost._useAllFactorLevels;
    RegTree[][] groups = ((GBTree) booster).getGroupedTrees();
    for (int k = 0; k < groups.length; k++) {
      for (RegTree tree : groups[k]) {
        root = nodes;
        add(tree.getNodes(), 0);
        finish(k);
      }
    }
  }

  private int add(RegTreeNode[] given, int index) {
    RegTreeNode node = given[index];
    int at = next();
    if (node.getLeftChildIndex() == -1) {
      value[at] = node.getLeafValue();
      return at - root;
    }
    column[at] = node.getSplitIndex();
    missingRight[at] = !node.default_left();
    cut[at] = node.getSplitCondition();
    int below = add(given, node.getLeftChildIndex());
    int above = add(given, node.getRightChildIndex());
    left[at] = below;
    right[at] = above;
    return at - root;
  }

  private static byte[] entry(String path, String name) throws IOException {
    try (ZipFile zip = new ZipFile(path)) {
      ZipEntry entry = zip.getEntry(name);
      if (entry == null) throw new UnsupportedOperationException("a MOJO without " + name);
      ByteArrayOutputStream content = new ByteArrayOutputStream();
      try (InputStream stream = zip.getInputStream(entry)) {
        byte[] part = new byte[1 << 16];
        for (int read = stream.read(part); read >= 0; read = stream.read(part)) content.write(part, 0, read);
      }
      return content.toByteArray();
    }
  }

  // -- arrays -------------------------------------------------------------------------------------------------------

  private int next() {
    if (nodes == left.length) resize(2 * nodes);
    left[nodes] = right[nodes] = -1;
    setAt[nodes] = -1;
    return nodes++;
  }

  private void finish(int sum) {
    if (trees == end.length) {
      end = Arrays.copyOf(end, 2 * trees);
      output = Arrays.copyOf(output, 2 * trees);
    }
    end[trees] = nodes;
    output[trees++] = sum;
  }

  private void resize(int size) {
    left = Arrays.copyOf(left, size);
    right = Arrays.copyOf(right, size);
    column = Arrays.copyOf(column, size);
    cut = Arrays.copyOf(cut, size);
    value = Arrays.copyOf(value, size);
    missingRight = Arrays.copyOf(missingRight, size);
    setAt = Arrays.copyOf(setAt, size);
  }

  private void trim() {
    resize(nodes);
    sets = Arrays.copyOf(sets, setBytes);
    end = Arrays.copyOf(end, trees);
    output = Arrays.copyOf(output, trees);
  }

  // -- what makes answers of sums -----------------------------------------------------------------------------------

  public int width() {
    return model.nfeatures();
  }

  /** How many levels each column of the model itself has; -1 for numbers. */
  public int[] sizes() {
    int[] sizes = new int[width()];
    for (int i = 0; i < sizes.length; i++) sizes[i] = domains[i] == null ? -1 : domains[i].length;
    return sizes;
  }

  public int classes() {
    return model.nclasses();
  }

  public int groups() {
    return model instanceof SharedTreeMojoModel ? ((SharedTreeMojoModel) model).getNTreeGroups() : 0;
  }

  public String family() {
    return model instanceof GbmMojoModel ? ((GbmMojoModel) model)._family.name() : null;
  }

  public String link() {
    return model instanceof GbmMojoModel ? ((GbmMojoModel) model)._link_function.name() : null;
  }

  public double init() {
    return model instanceof GbmMojoModel ? ((GbmMojoModel) model)._init_f : 0;
  }

  public boolean doubleTrees() {
    return model instanceof DrfMojoModel && ((DrfMojoModel) model).isBinomialDoubleTrees();
  }

  public double threshold() {
    return model._defaultThreshold;
  }

  public double[] prior() {
    return model._priorClassDistrib;
  }

  /** The distribution of classes that the trees saw, where answers are corrected for it. */
  public double[] balanced() {
    return model._balanceClasses ? model._modelClassDistrib : null;
  }

  /** The least sum of a GBM of two classes whose label is the second: found with this Java's exponential. */
  public double least() {
    if (!(model instanceof GbmMojoModel) || model.nclasses() != 2) return Double.NaN;
    long below = ordered(-Double.MAX_VALUE);
    long above = ordered(Double.MAX_VALUE);
    if (isSecond(below)) return Double.NEGATIVE_INFINITY;
    if (!isSecond(above)) return Double.POSITIVE_INFINITY;
    while (above - below > 1 || above - below < 0) {
      long between = (below >> 1) + (above >> 1) + (below & above & 1);
      if (isSecond(between)) above = between;
      else below = between;
    }
    return unordered(above);
  }

  private boolean isSecond(long sum) {
    double[] preds = {0, unordered(sum), 0};
    return ((GbmMojoModel) model).unifyPreds(new double[width()], 0, preds)[0] == 1;
  }

  /** Doubles as whole numbers of the same order. */
  private static long ordered(double value) {
    long bits = Double.doubleToRawLongBits(value);
    return bits < 0 ? Long.MIN_VALUE - bits : bits;
  }

  private static double unordered(long value) {
    return Double.longBitsToDouble(value < 0 ? Long.MIN_VALUE - value : value);
  }

  /** Slope and intercept of Platt's calibration; null for another or none. */
  public double[] platt() {
    return model instanceof SharedTreeMojoModel
        ? ((SharedTreeMojoModel) model).getCalibGlmBeta()
        : ((XGBoostMojoModel) model).getCalibGlmBeta();
  }
}
