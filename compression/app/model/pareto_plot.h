#pragma once

#include <string>

#include "fl/compression/deploy/search/auto_search.h"

namespace fl::model_app {

// The trials of a search as an SVG picture: file size on a logarithmic axis against accuracy, the
// size of a dot for its time, the front over bytes as a line, the chosen one ringed, random lists
// hollow; each dot says in its title what it is. The least accurate are left out of the axis and
// lie on its lower edge. Readable on light and on dark ground.
std::string DrawParetoPlot(const deploy::SearchOutcome& outcome);

}  // namespace fl::model_app
