#include "fl/compression/deploy/hint_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "fl/common/base/check.h"
#include "fl/common/nn/session.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

std::size_t ChannelsOf(const Shape& shape) {
  return shape[shape.rank() - 1];
}

// A linear map from the student's channels to the teacher's, which follows its own gradient: the
// step is one over the mean square of its inputs, with which it never diverges.
class Adaptor {
 public:
  Adaptor(std::size_t inputs, std::size_t outputs) : inputs_(inputs), outputs_(outputs) { Begin(); }

  void Begin() {
    weight_.assign((inputs_ + 1) * outputs_, 0.0);
    // Near the identity.
    for (std::size_t i = 0; i < inputs_; ++i) {
      for (std::size_t o = 0; o < outputs_; ++o)
        weight_[i * outputs_ + o] = i == o % inputs_ ? 1.0 : 0.1 / static_cast<double>(inputs_);
    }
  }

  // Mean square of A s + b - t over that of t; weight times its derivative is added to `gradient`.
  // Then the adaptor takes a step.
  double Compare(std::span<const float> student, std::span<const float> teacher, double weight,
                 std::span<float> gradient) {
    FL_CHECK(inputs_ > 0 && outputs_ > 0, "hints of layers with channels");
    const std::size_t rows = student.size() / inputs_;
    double energy = 1e-12;
    for (const float value : teacher) energy += static_cast<double>(value * value);
    std::vector<double> step(weight_.size());
    std::vector<double> difference(outputs_);
    double loss = 0;
    double strength = 0;
    for (std::size_t row = 0; row < rows; ++row) {
      const auto s = student.subspan(row * inputs_, inputs_);
      const auto t = teacher.subspan(row * outputs_, outputs_);
      for (std::size_t o = 0; o < outputs_; ++o)
        difference[o] = weight_[inputs_ * outputs_ + o] - static_cast<double>(t[o]);
      for (std::size_t i = 0; i < inputs_; ++i) {
        for (std::size_t o = 0; o < outputs_; ++o)
          difference[o] += static_cast<double>(s[i]) * weight_[i * outputs_ + o];
      }
      strength += 1;
      for (std::size_t i = 0; i < inputs_; ++i) {
        double slope = 0;
        for (std::size_t o = 0; o < outputs_; ++o) {
          slope += difference[o] * weight_[i * outputs_ + o];
          step[i * outputs_ + o] += difference[o] * static_cast<double>(s[i]);
        }
        gradient[row * inputs_ + i] += static_cast<float>(weight * 2 * slope / energy);
        strength += static_cast<double>(s[i] * s[i]);
      }
      for (std::size_t o = 0; o < outputs_; ++o) {
        step[inputs_ * outputs_ + o] += difference[o];
        loss += difference[o] * difference[o];
      }
    }
    for (std::size_t i = 0; i < weight_.size(); ++i) weight_[i] -= step[i] / strength;
    return loss / energy;
  }

 private:
  std::size_t inputs_;
  std::size_t outputs_;
  std::vector<double> weight_;  // inputs x outputs, then the bias.
};

// Sums of squares over channels, at length 1 over one sample's pixels; `length` receives what it
// was.
std::vector<double> Attention(std::span<const float> map, std::size_t channels, double& length) {
  std::vector<double> squares(map.size() / channels);
  for (std::size_t i = 0; i < map.size(); ++i)
    squares[i / channels] += static_cast<double>(map[i] * map[i]);
  double sum = 0;
  for (const double value : squares) sum += value * value;
  length = std::sqrt(sum) + 1e-12;
  for (double& value : squares) value /= length;
  return squares;
}

// Of one sample. With q = Q / |Q|: dL/dQ = 2 (d - q_s <q_s, d>) / |Q_s|, d = q_s - q_t, and dQ/ds =
// 2 s.
double CompareAttention(std::span<const float> student, std::size_t channels,
                        std::span<const double> teacher, double weight, std::span<float> gradient) {
  double length = 0;
  const std::vector<double> own = Attention(student, channels, length);
  double loss = 0;
  double along = 0;
  for (std::size_t p = 0; p < own.size(); ++p) {
    const double difference = own[p] - teacher[p];
    loss += difference * difference;
    along += own[p] * difference;
  }
  for (std::size_t i = 0; i < student.size(); ++i) {
    const std::size_t p = i / channels;
    const double slope = 2 * (own[p] - teacher[p] - own[p] * along) / length;
    gradient[i] += static_cast<float>(weight * slope * 2 * static_cast<double>(student[i]));
  }
  return loss;
}

// One hint at work.
struct Place {
  std::size_t node;  // Of the student.
  std::size_t channels;
  std::size_t teacher_channels;
  nn::Session session;          // The teacher up to its node.
  std::vector<float> expected;  // Of this batch.
  Adaptor adaptor;
};

nn::Graph UpTo(const nn::Graph& graph, std::size_t node) {
  nn::Graph part = graph;
  part.nodes.resize(node + 1);
  return part;
}

}  // namespace

class HintLoss::Inner final : public nn::TrainingHook {
 public:
  Inner(const HintConfig& config, std::span<const float> teacher)
      : config_(config), teacher_(teacher) {}

  void OnForward(std::size_t /*node*/, std::span<float> /*output*/) override {}

  double OnBackward(std::size_t node, std::span<const float> output,
                    std::span<float> gradient) override {
    double loss = 0;
    for (Place& place : places_) {
      if (place.node != node) continue;
      loss += Compare(place, output, gradient);
      ++shown_;
    }
    last_ += loss / static_cast<double>(places_.size());
    return config_.weight * loss;
  }

  void Begin() {
    for (Place& place : places_) place.adaptor.Begin();
  }

  void Teach(const nn::TrainingBatch& batch) {
    count_ = batch.count;
    shown_ = 0;
    last_ = 0;
    for (Place& place : places_) {
      place.expected.resize(batch.count * place.session.graph().output_shape().count());
      place.session.Run(teacher_, batch.input, batch.count, place.expected);
    }
  }

  double last() const {
    return shown_ == places_.size() ? last_ : std::numeric_limits<double>::quiet_NaN();
  }
  void Add(Place place) { places_.push_back(std::move(place)); }

 private:
  double Compare(Place& place, std::span<const float> output, std::span<float> gradient) {
    if (config_.kind == HintKind::kMap)
      return place.adaptor.Compare(output, place.expected, config_.weight, gradient);
    const std::size_t own = output.size() / count_;
    const std::size_t other = place.expected.size() / count_;
    const double share = 1 / static_cast<double>(count_);
    double loss = 0;
    double length = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const auto expected = std::span<const float>(place.expected).subspan(i * other, other);
      loss += share * CompareAttention(output.subspan(i * own, own), place.channels,
                                       Attention(expected, place.teacher_channels, length),
                                       config_.weight * share, gradient.subspan(i * own, own));
    }
    return loss;
  }

  HintConfig config_;
  std::span<const float> teacher_;
  std::vector<Place> places_;
  std::size_t count_ = 0;
  std::size_t shown_ = 0;
  double last_ = 0;
};

HintLoss::HintLoss(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}
HintLoss::~HintLoss() = default;

Result<std::unique_ptr<HintLoss>> HintLoss::Create(const HintConfig& config, const Teacher& teacher,
                                                   const nn::Graph& student,
                                                   std::size_t batch_max) {
  auto inner = std::make_unique<Inner>(config, teacher.parameters);
  for (const Hint& hint : config.hints) {
    FL_TRY(const std::size_t node, FindNode(student, hint.student));
    FL_TRY(const std::size_t source, FindNode(teacher.graph, hint.teacher));
    const Shape& own = student.nodes[node].shape;
    const Shape& other = teacher.graph.nodes[source].shape;
    const bool pixels = own.rank() == 3 && other.rank() == 3;
    const bool same = pixels ? own[0] == other[0] && own[1] == other[1]
                             : own.rank() == other.rank() && config.kind == HintKind::kMap;
    if (!same) {
      return Error{ErrorCode::kShapeMismatch, "expected maps of one height and width, found " +
                                                  own.ToText() + " of " + hint.student + " and " +
                                                  other.ToText() + " of the teacher's " +
                                                  hint.teacher};
    }
    FL_TRY(nn::Session session, nn::Session::Create(UpTo(teacher.graph, source), batch_max));
    inner->Add({node,
                ChannelsOf(own),
                ChannelsOf(other),
                std::move(session),
                {},
                Adaptor(ChannelsOf(own), ChannelsOf(other))});
  }
  return std::unique_ptr<HintLoss>(new HintLoss(std::move(inner)));
}

nn::TrainingHook* HintLoss::inner() {
  return inner_.get();
}
void HintLoss::Begin() {
  inner_->Begin();
}
void HintLoss::Teach(const FineTuneStep& step, std::span<float> /*logits*/) {
  inner_->Teach(step.batch);
}
double HintLoss::last() const {
  return inner_->last();
}

}  // namespace fl::deploy
