// The rule by which the service judges, once more: what would these scores and findings have meant with other
// thresholds? It is tested against the service's own verdicts.

const DEFAULT = 0.5;
const WORST_FIRST = ["fail", "unknown", "pass"];

/** The threshold of a label. */
export const limitOf = (thresholds, label) => thresholds[label] ?? thresholds.default ?? DEFAULT;

/** Whether a label's verdict comes from things found on the part, not from a score. */
export const isByFindings = (model, label) =>
  model.heads.some((head) => ["detection", "segmentation"].includes(head.head) && head.labels.includes(label));

/** Whether no score of a label is above 1; a higher threshold would never be reached, and is refused. */
export const endsAtOne = (model, label) => model.heads.some((head) => head.ends_at_one && head.labels.includes(label));

/** Whether the rule is close only: a map's regions are found anew with every threshold, on the service. */
export const isClose = (model) =>
  model.heads.some((head) => head.head === "segmentation" || (head.head === "anomaly" && head.kind !== "score"));

/** The verdict of one judged result under thresholds: pass, fail or unknown; null where the rule does not apply. */
export function judge(model, thresholds, result) {
  if (result.status !== "ok") return null;
  const verdicts = model.heads.map((head) => judgeHead(head, model.defects, thresholds, result)).filter(Boolean);
  return WORST_FIRST.find((kind) => verdicts.includes(kind)) ?? null;
}

function judgeHead(head, defects, thresholds, result) {
  const reaches = ([label, value]) => value >= limitOf(thresholds, label);
  const isDefect = ([label]) => defects.includes(label);
  const scores = Object.entries(result.scores).filter(([label]) => head.labels.includes(label));
  switch (head.head) {
    case "classification": {
      if (scores.some((it) => isDefect(it) && reaches(it))) return "fail";
      // Scores come with the largest first: the first sound label is the best one.
      const good = scores.find((it) => !isDefect(it));
      return good && reaches(good) ? "pass" : head.nothing_found;
    }
    case "score":
      if (head.bands) return bandOf(head.bands, scores[0][1]).verdict;
      return scores.some(reaches) ? "fail" : "pass";
    case "anomaly":
      return scores.some(reaches) ? "fail" : "pass";
    case "detection":
    case "segmentation": {
      const found = result.findings.map((it) => [it.label, it.confidence]).filter(([label]) => head.labels.includes(label));
      return found.some((it) => isDefect(it) && reaches(it)) ? "fail" : "pass";
    }
    default:
      return null;
  }
}

const bandOf = (bands, value) => bands.find((band) => band.below === null || value < band.below);
