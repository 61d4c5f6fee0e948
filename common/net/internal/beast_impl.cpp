// The one source with the bodies of Beast's functions; see BOOST_BEAST_SEPARATE_COMPILATION.
#include <boost/beast/src.hpp>
