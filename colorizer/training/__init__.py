"The article: data, network, loss and recipe, with torch and fastai."
