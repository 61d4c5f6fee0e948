#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/pass_list.h"
#include "fl/compression/deploy/search/pareto.h"
#include "fl/compression/deploy/search/search_space.h"

namespace fl::deploy {

// A proposal's model as its list would write it.
struct FinishedModel {
  DeploymentConfig list;
  WorkingModel model;
  Bytes file;
};

// By the engine that would run it.
Result<double> AccuracyOf(const WorkingModel& model, const data::Subset& samples);

// A proposal on its way through a search: its model as far as it is trained. Each training is one
// more pass of its list and runs with the random numbers of that pass, so that the list alone makes
// the same file. Thread safety: distinct objects safe.
class Trainee {
 public:
  // Removes what the proposal removes; nothing is trained yet. All three references outlive this
  // object; inputs.profile is not null. The passes' errors, and EstimateLatency's.
  static Result<Trainee> Create(const SearchSpace& space, Proposal proposal,
                                const ListSettings& settings, const PassInputs& inputs);

  const Proposal& proposal() const { return proposal_; }
  std::string name() const { return NameOf(*space_, proposal_); }
  const PassInputs& inputs() const { return *inputs_; }
  const std::vector<std::uint32_t>& steps() const { return steps_; }
  // Of the file with weights in the settings' bits; training does not change it.
  std::uint64_t bytes() const { return bytes_; }
  double microseconds() const { return microseconds_; }  // By the profile.
  double multiply_accumulates() const { return macs_; }  // Of one sample.

  // Trains further. The errors of its pass; the trainee is as it was then.
  Result<> Train(std::uint32_t steps);
  // With weights in 8 bits where it ends in integers.
  Result<double> AccuracyOn(const data::Subset& samples) const;
  // The list with weights in so many bits, and what it makes; nothing is measured.
  Result<FinishedModel> Finish(std::uint8_t bits) const;

 private:
  Trainee(const SearchSpace& space, Proposal proposal, const ListSettings& settings,
          const PassInputs& inputs);
  DeploymentConfig ListWith(std::uint8_t bits) const;
  Result<PassList> Parse(const DeploymentConfig& list) const;
  Result<> MeasureSize();
  // Runs the list's passes from the first that was not run up to the stage, and all others of it.
  Result<WorkingModel> RunUpTo(PassStage stage, const PassList& passes) const;

  const SearchSpace* space_;
  Proposal proposal_;
  const ListSettings* settings_;
  const PassInputs* inputs_;
  std::vector<std::uint32_t> steps_;
  WorkingModel model_;
  std::size_t done_ = 0;  // Passes that ran.
  std::uint64_t bytes_ = 0;
  double microseconds_ = 0;
  double macs_ = 0;
};

}  // namespace fl::deploy
